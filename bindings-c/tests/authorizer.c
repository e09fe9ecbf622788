#include "check.h"

#include <stdatomic.h>

struct host {
    atomic_int asked, finalized;
};

static void decide(void *user_data, const char *request, size_t request_len,
                   pinnace_authorization_answer_t *answer) {
    struct host *host = user_data;
    CHECK(strlen(request) == request_len);
    /* The engine's own parts may ask, too, before they have their roles. */
    if (strstr(request, "\"resource\":\"pods\"") == NULL) return;
    atomic_fetch_add(&host->asked, 1);
    if (strstr(request, "\"user\":\"ann\"") == NULL) return;
    if (strstr(request, "\"verb\":\"list\"") != NULL) pinnace_authorization_allow(answer);
    else pinnace_authorization_refuse(answer, "ann only lists");
}

static void finalize(void *user_data) {
    atomic_fetch_add(&((struct host *)user_data)->finalized, 1);
}

/* Whether what is said of a question holds a text. */
static bool says(pinnace_engine_t *engine, const char *user, const char *verb, const char *text) {
    char review[256];
    snprintf(review, sizeof review,
             "{\"apiVersion\": \"authorization.k8s.io/v1\", \"kind\": \"SubjectAccessReview\", \"spec\": "
             "{\"user\": \"%s\", \"resourceAttributes\": {\"verb\": \"%s\", \"resource\": \"pods\"}}}",
             user, verb);
    pinnace_bytes_t made = {0};
    OK(pinnace_engine_create(engine, review, strlen(review), NULL, &made));
    bool said = strstr((const char *)made.data, text) != NULL;
    pinnace_bytes_delete(&made);
    return said;
}

static void a_callback_says_who_may_do_what(void) {
    struct host host = {0};
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_set_nodes(config, 0);
    pinnace_config_add_authorizer(config, "test", decide, &host, finalize);
    pinnace_engine_t *engine = NULL;
    OK(pinnace_engine_new(config, &engine));
    CHECK(says(engine, "ann", "list", "\"allowed\":true"));
    CHECK(says(engine, "ann", "delete", "\"reason\":\"ann only lists\""));
    CHECK(says(engine, "bob", "list", "\"allowed\":false"));
    CHECK(host.asked == 3);
    pinnace_engine_delete(engine);
    CHECK(host.finalized == 1);
}

static void a_callback_that_is_none_is_refused(void) {
    struct host host = {0};
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_add_authorizer(config, NULL, NULL, &host, finalize);
    CHECK(host.finalized == 1);
    pinnace_engine_t *engine = NULL;
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_new(config, &engine));
}

void authorizer(void) {
    RUN(a_callback_says_who_may_do_what);
    RUN(a_callback_that_is_none_is_refused);
}
