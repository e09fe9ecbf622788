#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

static const char *const A = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";
static const char *const A2 = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: hello}}";

static pinnace_selection_t only_a(void) {
    return (pinnace_selection_t){.size = sizeof(pinnace_selection_t),
                                 .namespace_ = "default",
                                 .fields = "metadata.name=a"};
}

static void expect(pinnace_stream_t *stream, const char *start) {
    pinnace_bytes_t item = {0};
    OK(pinnace_stream_next(stream, DEADLINE_MS, &item));
    CHECK(item.data != NULL && strncmp(item.data, start, strlen(start)) == 0);
    pinnace_bytes_delete(&item);
}

static void a_watch_tells_what_is_there_and_what_happens(void) {
    pinnace_engine_t *engine = simulated();
    OK(apply(engine, A));
    pinnace_selection_t selection = only_a();
    pinnace_stream_t *stream = NULL;
    OK(pinnace_engine_watch(engine, "configmaps", &selection, &stream));
    expect(stream, "{\"type\":\"ADDED\",\"object\":{");
    OK(apply(engine, A2));
    expect(stream, "{\"type\":\"MODIFIED\",");
    pinnace_bytes_t item = {0};
    OK(pinnace_stream_next(stream, 0, &item));
    CHECK(item.data == NULL);
    OK(pinnace_engine_delete_object(engine, "cm/a", NULL, 0, -1));
    expect(stream, "{\"type\":\"DELETED\",");
    pinnace_stream_stop(stream);
    FAILS(PINNACE_CODE_CLOSED, pinnace_stream_next(stream, UINT64_MAX, &item));
    pinnace_stream_delete(stream);
    pinnace_engine_delete(engine);
}

static bool is_readable(pinnace_stream_t *stream, int timeout_ms) {
    struct pollfd poll_fd = {.fd = pinnace_stream_fd(stream), .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) == 1;
}

static void the_descriptor_of_a_stream_is_readable_while_there_is_something(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_selection_t selection = only_a();
    pinnace_stream_t *stream = NULL;
    OK(pinnace_engine_watch(engine, "configmaps", &selection, &stream));
    CHECK(!is_readable(stream, 0));
    OK(apply(engine, A));
    CHECK(is_readable(stream, DEADLINE_MS));
    expect(stream, "{\"type\":\"ADDED\",");
    CHECK(!is_readable(stream, 0));
    pinnace_engine_delete(engine);
    CHECK(is_readable(stream, DEADLINE_MS));
    pinnace_bytes_t item = {0};
    FAILS(PINNACE_CODE_CLOSED, pinnace_stream_next(stream, 0, &item));
    CHECK(is_readable(stream, 0));
    pinnace_stream_delete(stream);
}

static void a_slow_reader_misses_nothing(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_selection_t selection = {.size = sizeof selection, .labels = "many"};
    pinnace_stream_t *stream = NULL;
    OK(pinnace_engine_watch(engine, "configmaps", &selection, &stream));
    for (int number = 0; number < 600; number++) {
        char json[256];
        snprintf(json, sizeof json,
                 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":"
                 "{\"name\":\"m%d\",\"labels\":{\"many\":\"\"}}}",
                 number);
        OK(pinnace_engine_create(engine, json, strlen(json), NULL, NULL));
    }
    for (int number = 0; number < 600; number++) expect(stream, "{\"type\":\"ADDED\",");
    pinnace_stream_delete(stream);
    pinnace_engine_delete(engine);
}

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int events, finalized;
    int stop_after;
    pinnace_watch_t *watch;
};

static bool note(void *user_data, const char *event, size_t len, const pinnace_error_t *error) {
    struct seen *seen = user_data;
    pthread_mutex_lock(&seen->lock);
    if (error == NULL && strlen(event) == len) seen->events++;
    pthread_cond_broadcast(&seen->changed);
    bool goes_on = seen->events != seen->stop_after;
    pthread_mutex_unlock(&seen->lock);
    return goes_on;
}

static void finalize(void *user_data) {
    struct seen *seen = user_data;
    pthread_mutex_lock(&seen->lock);
    seen->finalized++;
    pthread_cond_broadcast(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

static void wait_until(struct seen *seen, int *number, int wanted) {
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&seen->lock);
    int late = 0;
    while (*number < wanted && !late)
        late = pthread_cond_timedwait(&seen->changed, &seen->lock, &deadline);
    pthread_mutex_unlock(&seen->lock);
    CHECK(*number == wanted);
}

#define SEEN {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER}

static void a_watch_calls_back_until_it_is_deleted(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_selection_t selection = only_a();
    struct seen seen = SEEN;
    pinnace_watch_t *watch = NULL;
    OK(pinnace_engine_watch_with(engine, "configmaps", &selection, note, &seen, finalize, &watch));
    OK(apply(engine, A));
    wait_until(&seen, &seen.events, 1);
    pinnace_watch_delete(watch);
    CHECK(seen.finalized == 1);
    OK(apply(engine, A2));
    pinnace_engine_delete(engine);
    CHECK(seen.events == 1 && seen.finalized == 1);
}

static void a_watch_ends_when_its_callback_says_so(void) {
    pinnace_engine_t *engine = simulated();
    struct seen seen = SEEN;
    seen.stop_after = 2;
    pinnace_watch_t *watch = NULL;
    OK(pinnace_engine_watch_with(engine, "nodes", NULL, note, &seen, finalize, &watch));
    wait_until(&seen, &seen.finalized, 1);
    CHECK(seen.events == 2);
    pinnace_watch_delete(watch);
    pinnace_engine_delete(engine);
}

static void a_watch_ends_with_its_engine(void) {
    pinnace_engine_t *engine = simulated();
    struct seen seen = SEEN;
    pinnace_watch_t *watch = NULL;
    OK(pinnace_engine_watch_with(engine, "nodes", NULL, note, &seen, finalize, &watch));
    pinnace_engine_delete(engine);
    pinnace_watch_delete(watch);
    CHECK(seen.finalized == 1);
}

static bool delete_me(void *user_data, const char *event, size_t len,
                      const pinnace_error_t *error) {
    (void)event, (void)len, (void)error;
    struct seen *seen = user_data;
    pthread_mutex_lock(&seen->lock);
    while (seen->watch == NULL) pthread_cond_wait(&seen->changed, &seen->lock);
    pthread_mutex_unlock(&seen->lock);
    pinnace_watch_delete(seen->watch);
    return true;
}

static void a_watch_may_be_deleted_by_its_own_callback(void) {
    pinnace_engine_t *engine = simulated();
    struct seen seen = SEEN;
    pinnace_watch_t *watch = NULL;
    OK(pinnace_engine_watch_with(engine, "nodes", NULL, delete_me, &seen, finalize, &watch));
    pthread_mutex_lock(&seen.lock);
    seen.watch = watch;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.lock);
    wait_until(&seen, &seen.finalized, 1);
    pinnace_engine_delete(engine);
}

static void the_finalizer_is_called_when_a_watch_cannot_be(void) {
    pinnace_engine_t *engine = simulated();
    struct seen seen = SEEN;
    pinnace_watch_t *watch = NULL;
    FAILS(PINNACE_CODE_NOT_FOUND,
          pinnace_engine_watch_with(engine, "frogs", NULL, note, &seen, finalize, &watch));
    CHECK(seen.finalized == 1 && watch == NULL);
    pinnace_engine_delete(engine);
}

static void logs_of_what_never_ran_are_not_found(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_log_options_t options = {.size = sizeof options, .container = "a", .tail_lines = 1};
    pinnace_bytes_t log = {0};
    pinnace_stream_t *stream = NULL;
    FAILS(PINNACE_CODE_NOT_FOUND, pinnace_engine_logs(engine, "none", NULL, &options, &log));
    FAILS(PINNACE_CODE_NOT_FOUND,
          pinnace_engine_follow_logs(engine, "none", NULL, &options, &stream));
    pinnace_engine_delete(engine);
}

static void logs_of_a_process_are_read_and_followed(void) {
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "process");
    pinnace_engine_t *engine = NULL;
    OK(pinnace_engine_new(config, &engine));
    OK(apply(engine, "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {hostNetwork: true, "
                     "restartPolicy: Never, containers: [{name: a, image: b, command: [sh, -c, "
                     "'echo one; echo two']}]}}"));
    OK(pinnace_engine_wait(engine, "pods/a", NULL, "jsonpath={.status.phase}=Succeeded",
                           DEADLINE_MS));
    pinnace_bytes_t log = {0};
    OK(pinnace_engine_logs(engine, "a", NULL, NULL, &log));
    CHECK(strcmp(log.data, "one\ntwo\n") == 0);
    pinnace_bytes_delete(&log);
    pinnace_log_options_t options = {.size = sizeof options, .tail_lines = 1};
    pinnace_stream_t *stream = NULL;
    OK(pinnace_engine_follow_logs(engine, "pods/a", NULL, &options, &stream));
    expect(stream, "two\n");
    FAILS(PINNACE_CODE_CLOSED, pinnace_stream_next(stream, DEADLINE_MS, &log));
    pinnace_stream_delete(stream);
    pinnace_engine_delete(engine);
}

void streams(void) {
    RUN(a_watch_tells_what_is_there_and_what_happens);
    RUN(the_descriptor_of_a_stream_is_readable_while_there_is_something);
    RUN(a_slow_reader_misses_nothing);
    RUN(a_watch_calls_back_until_it_is_deleted);
    RUN(a_watch_ends_when_its_callback_says_so);
    RUN(a_watch_ends_with_its_engine);
    RUN(a_watch_may_be_deleted_by_its_own_callback);
    RUN(the_finalizer_is_called_when_a_watch_cannot_be);
    RUN(logs_of_what_never_ran_are_not_found);
    RUN(logs_of_a_process_are_read_and_followed);
}
