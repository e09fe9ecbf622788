#include "check.h"

#include <stdatomic.h>

struct host {
    atomic_int asked, finalized;
};

static void judge(void *user_data, const char *request, size_t request_len,
                  pinnace_admission_answer_t *answer) {
    struct host *host = user_data;
    atomic_fetch_add(&host->asked, 1);
    if (strlen(request) == request_len && strstr(request, "\"name\":\"b\"") != NULL) pinnace_admission_refuse(answer, "no b");
}

static void change(void *user_data, const char *request, size_t request_len,
                   pinnace_admission_answer_t *answer) {
    (void)user_data, (void)request_len;
    if (strstr(request, "\"name\":\"a\"") == NULL) return;
    pinnace_admission_change(answer, "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": "
                                     "{\"name\": \"a\", \"namespace\": \"default\"}, "
                                     "\"data\": {\"by\": \"host\"}}");
}

static void finalize(void *user_data) {
    atomic_fetch_add(&((struct host *)user_data)->finalized, 1);
}

static pinnace_engine_t *asking(pinnace_admission_callback_t callback, struct host *host,
                                bool mutates) {
    const char *const resources[] = {"configmaps"}, *const operations[] = {"CREATE"};
    pinnace_admission_options_t options = {
        .size = sizeof options, .name = "test", .resources = resources, .resources_len = 1,
        .operations = operations, .operations_len = 1, .mutates = mutates};
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_set_nodes(config, 0);
    pinnace_config_add_admission(config, &options, callback, host, finalize);
    pinnace_engine_t *engine = NULL;
    OK(pinnace_engine_new(config, &engine));
    return engine;
}

static void a_callback_refuses_and_allows(void) {
    struct host host = {0};
    pinnace_engine_t *engine = asking(judge, &host, false);
    OK(apply(engine, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"));
    FAILS(PINNACE_CODE_FORBIDDEN,
          apply(engine, "{apiVersion: v1, kind: ConfigMap, metadata: {name: b}}"));
    CHECK(host.asked >= 2);
    pinnace_engine_delete(engine);
    CHECK(host.finalized == 1);
}

static void a_callback_changes_what_is_written(void) {
    struct host host = {0};
    pinnace_engine_t *engine = asking(change, &host, true);
    OK(apply(engine, "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"));
    pinnace_bytes_t got = {0};
    OK(pinnace_engine_get(engine, "configmaps/a", NULL, &got));
    CHECK(strstr((const char *)got.data, "\"by\":\"host\"") != NULL);
    pinnace_bytes_delete(&got);
    pinnace_engine_delete(engine);
}

static void what_cannot_be_taken_is_told_at_the_start(void) {
    struct host host = {0};
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_add_admission(config, NULL, NULL, &host, finalize);
    CHECK(host.finalized == 1);
    pinnace_engine_t *engine = NULL;
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_new(config, &engine));
}

void admission(void) {
    RUN(a_callback_refuses_and_allows);
    RUN(a_callback_changes_what_is_written);
    RUN(what_cannot_be_taken_is_told_at_the_start);
}
