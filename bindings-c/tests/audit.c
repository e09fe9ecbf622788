#include "check.h"

#include <stdatomic.h>

/* One thread calls, so only what it counts for the test is atomic. */
struct host {
    atomic_int received, completed, bad, finalized;
    bool full;
};

static const char *const CREATED_BY_HOST =
    "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Request, users: ['pinnace:host'], "
    "verbs: [create], resources: [{resources: [configmaps]}]}]}";

static bool note(void *user_data, const char *event, size_t event_len) {
    struct host *host = user_data;
    bool good = strlen(event) == event_len && strstr(event, "\"apiVersion\":\"audit.k8s.io/v1\"") &&
                strstr(event, "\"level\":\"Request\"") && strstr(event, "\"verb\":\"create\"");
    if (!good) atomic_fetch_add(&host->bad, 1);
    if (strstr(event, "\"stage\":\"RequestReceived\"")) atomic_fetch_add(&host->received, 1);
    if (strstr(event, "\"stage\":\"ResponseComplete\"") && strstr(event, "\"data\":{\"k\":\"v\"}"))
        atomic_fetch_add(&host->completed, 1);
    return !host->full;
}

static void finalize(void *user_data) {
    atomic_fetch_add(&((struct host *)user_data)->finalized, 1);
}

static pinnace_config_t *control_plane(void) {
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_set_nodes(config, 0);
    return config;
}

static void create(pinnace_engine_t *engine, const char *name) {
    char object[128];
    snprintf(object, sizeof object,
             "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"%s\"}, "
             "\"data\": {\"k\": \"v\"}}",
             name);
    OK(pinnace_engine_create(engine, object, strlen(object), NULL, NULL));
}

/* Two objects, of which all events come, whatever the callback says of the first. */
static void check_events(bool full) {
    struct host host = {.full = full};
    pinnace_config_t *config = control_plane();
    pinnace_config_set_audit(config, CREATED_BY_HOST, note, &host, finalize);
    pinnace_engine_t *engine = NULL;
    OK(pinnace_engine_new(config, &engine));
    create(engine, "a");
    create(engine, "b");
    OK(pinnace_engine_shutdown(engine));
    CHECK(host.received == 2 && host.completed == 2 && host.bad == 0);
    pinnace_engine_delete(engine);
    CHECK(host.finalized == 1);
}

static void a_callback_hears_what_the_policy_says(void) { check_events(false); }

static void what_is_not_taken_keeps_nothing_else_away(void) { check_events(true); }

static void a_policy_or_callback_that_is_none_is_refused(void) {
    const struct {
        const char *policy;
        pinnace_audit_callback_t callback;
        int code;
    } rows[] = {
        {NULL, note, PINNACE_CODE_ARGUMENT},
        {CREATED_BY_HOST, NULL, PINNACE_CODE_ARGUMENT},
        {"{", note, PINNACE_CODE_CONFIG},
        {"{apiVersion: audit.k8s.io/v1, kind: Policy}", note, PINNACE_CODE_CONFIG},
        {"{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: Much}]}", note,
         PINNACE_CODE_CONFIG},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct host host = {0};
        pinnace_config_t *config = control_plane();
        pinnace_config_set_audit(config, rows[i].policy, rows[i].callback, &host, finalize);
        CHECK(host.finalized == 1);
        pinnace_engine_t *engine = NULL;
        FAILS(rows[i].code, pinnace_engine_new(config, &engine));
    }
}

void audit(void) {
    RUN(a_callback_hears_what_the_policy_says);
    RUN(what_is_not_taken_keeps_nothing_else_away);
    RUN(a_policy_or_callback_that_is_none_is_refused);
}
