// A test is a function; a check that does not hold ends it and counts it as failed.
#ifndef CHECK_H
#define CHECK_H

#include <pinnace.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

extern jmp_buf check_failed;
extern int check_passed_count, check_failed_count;

#define CHECK(condition)                                                         \
    do {                                                                         \
        if (!(condition)) {                                                      \
            printf("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);       \
            longjmp(check_failed, 1);                                            \
        }                                                                        \
    } while (0)

// The call succeeds.
#define OK(call)                                                                 \
    do {                                                                         \
        pinnace_error_t *error_ = (call);                                        \
        if (error_ != NULL) {                                                    \
            printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call,                 \
                   pinnace_error_message(error_));                               \
            pinnace_error_delete(error_);                                        \
            longjmp(check_failed, 1);                                            \
        }                                                                        \
    } while (0)

// The call fails with a code.
#define FAILS(code, call)                                                        \
    do {                                                                         \
        pinnace_error_t *error_ = (call);                                        \
        int code_ = pinnace_error_code(error_);                                  \
        if (code_ != (code)) {                                                   \
            printf("%s:%d: %s: code %d, not %d: %s\n", __FILE__, __LINE__,       \
                   #call, code_, (code),                                         \
                   error_ ? pinnace_error_message(error_) : "success");          \
            pinnace_error_delete(error_);                                        \
            longjmp(check_failed, 1);                                            \
        }                                                                        \
        pinnace_error_delete(error_);                                            \
    } while (0)

#define RUN(test) check_run(#test, test)

void check_run(const char *name, void (*test)(void));

// An engine of three simulated nodes.
pinnace_engine_t *simulated(void);
pinnace_error_t *apply(const pinnace_engine_t *engine, const char *manifest);

extern const char *const WEB;

#define DEADLINE_MS 30000

#endif
