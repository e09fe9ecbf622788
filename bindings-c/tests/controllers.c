#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

struct work {
    const pinnace_engine_t *engine;
    const char *name;
    int64_t answers[3];
    atomic_int runs, finalized;
    atomic_int code;
};

static int64_t answer(void *user_data, const char *namespace_, const char *name) {
    struct work *work = user_data;
    if (strcmp(name, work->name) != 0 || strcmp(namespace_, "default") != 0) return 0;
    int run = atomic_fetch_add(&work->runs, 1);
    return run < 3 ? work->answers[run] : 0;
}

static void finalize(void *user_data) {
    atomic_fetch_add(&((struct work *)user_data)->finalized, 1);
}

// Other threads count; they are given until the deadline.
static void wait_for(atomic_int *number, int wanted) {
    for (int waited = 0; atomic_load(number) < wanted && waited < DEADLINE_MS; waited++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    CHECK(atomic_load(number) >= wanted);
}

static const char *const A = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";

static void a_reconcile_runs_again_after_a_failure_or_when_it_wants_to(void) {
    pinnace_engine_t *engine = simulated();
    struct work work = {.name = "a", .answers = {-1, 5, 0}};
    pinnace_controller_t *controller = NULL;
    pinnace_controller_options_t options = {.size = sizeof options, .name = "test", .workers = 2};
    OK(pinnace_engine_controller(engine, "configmaps", &options, answer, &work, finalize,
                                 &controller));
    OK(apply(engine, A));
    wait_for(&work.runs, 3);
    OK(pinnace_controller_enqueue(controller, "default", "a"));
    wait_for(&work.runs, 4);
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_controller_enqueue(controller, "default", NULL));
    pinnace_controller_delete(controller);
    CHECK(work.finalized == 0);
    pinnace_engine_delete(engine);
    CHECK(work.finalized == 1);
}

static int64_t make_pod(void *user_data, const char *namespace_, const char *name) {
    struct work *work = user_data;
    if (strcmp(name, work->name) != 0) return 0;
    char object[300];
    snprintf(object, sizeof object, "configmaps/%s", name);
    pinnace_bytes_t owner = {0};
    pinnace_error_t *error = pinnace_engine_get(work->engine, object, namespace_, &owner);
    if (error != NULL) {
        pinnace_error_delete(error);
        return -1;
    }
    char uid[37] = {0};
    memcpy(uid, strstr(owner.data, "\"uid\":\"") + 7, 36);
    pinnace_bytes_delete(&owner);
    char pod[1000];
    snprintf(pod, sizeof pod,
             "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s-pod\","
             "\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"%s\","
             "\"uid\":\"%s\",\"controller\":true}]},"
             "\"spec\":{\"containers\":[{\"name\":\"a\",\"image\":\"b\"}]}}",
             name, name, uid);
    error = pinnace_engine_create(work->engine, pod, strlen(pod), namespace_, NULL);
    if (error == NULL) atomic_fetch_add(&work->runs, 1);
    pinnace_error_delete(error);
    return 0;
}

static void a_reconciler_heals_what_it_owns(void) {
    pinnace_engine_t *engine = simulated();
    struct work work = {.engine = engine, .name = "a"};
    const char *owns[] = {"pods"};
    pinnace_controller_options_t options = {.size = sizeof options, .owns = owns, .owns_len = 1};
    OK(pinnace_engine_controller(engine, "configmaps", &options, make_pod, &work, finalize, NULL));
    OK(apply(engine, A));
    OK(pinnace_engine_wait(engine, "pods/a-pod", NULL, "Ready", DEADLINE_MS));
    OK(pinnace_engine_delete_object(engine, "pods/a-pod", NULL, 0, 0));
    wait_for(&work.runs, 2);
    pinnace_engine_delete(engine);
}

static int64_t shut_down(void *user_data, const char *namespace_, const char *name) {
    (void)namespace_, (void)name;
    struct work *work = user_data;
    pinnace_error_t *error = pinnace_engine_shutdown(work->engine);
    atomic_store(&work->code, pinnace_error_code(error));
    pinnace_error_delete(error);
    atomic_fetch_add(&work->runs, 1);
    return 0;
}

static void an_engine_is_not_shut_down_from_within_a_callback(void) {
    pinnace_engine_t *engine = simulated();
    struct work work = {.engine = engine};
    OK(pinnace_engine_controller(engine, "namespaces", NULL, shut_down, &work, finalize, NULL));
    wait_for(&work.runs, 1);
    CHECK(work.code == PINNACE_CODE_ARGUMENT);
    pinnace_engine_delete(engine);
}

static void the_finalizer_is_called_when_a_controller_cannot_be(void) {
    pinnace_engine_t *engine = simulated();
    struct work work = {.name = "a"};
    FAILS(PINNACE_CODE_NOT_FOUND,
          pinnace_engine_controller(engine, "frogs", NULL, answer, &work, finalize, NULL));
    CHECK(work.finalized == 1);
    const char *owns[] = {NULL};
    pinnace_controller_options_t options = {.size = sizeof options, .owns = owns, .owns_len = 1};
    FAILS(PINNACE_CODE_ARGUMENT,
          pinnace_engine_controller(engine, "pods", &options, answer, &work, finalize, NULL));
    CHECK(work.finalized == 2);
    pinnace_engine_delete(engine);
}

void controllers(void) {
    RUN(a_reconcile_runs_again_after_a_failure_or_when_it_wants_to);
    RUN(a_reconciler_heals_what_it_owns);
    RUN(an_engine_is_not_shut_down_from_within_a_callback);
    RUN(the_finalizer_is_called_when_a_controller_cannot_be);
}
