#include "check.h"

static void an_engine_serves_until_it_is_told_to_stop(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_bytes_t kubeconfig = {0};
    const char *groups[] = {"system:masters"};
    FAILS(PINNACE_CODE_CONFIG, pinnace_engine_kubeconfig(engine, "admin", groups, 1, &kubeconfig));
    pinnace_serve_options_t options = {.size = sizeof options, .address = "127.0.0.1:0"};
    pinnace_serving_t *serving = NULL;
    OK(pinnace_engine_serve(engine, &options, &serving));
    CHECK(strncmp(pinnace_serving_url(serving), "https://127.0.0.1:", 18) == 0);
    CHECK(strstr(pinnace_serving_ca(serving), "BEGIN CERTIFICATE"));
    OK(pinnace_engine_kubeconfig(engine, "admin", groups, 1, &kubeconfig));
    CHECK(strstr(kubeconfig.data, pinnace_serving_url(serving)));
    pinnace_bytes_delete(&kubeconfig);
    OK(pinnace_serving_stop(serving, engine));
    OK(pinnace_serving_stop(serving, engine));
    OK(pinnace_engine_shutdown(engine));
    FAILS(PINNACE_CODE_CLOSED, pinnace_serving_stop(serving, engine));
    pinnace_engine_delete(engine);
    pinnace_serving_delete(serving);
}

static void what_cannot_be_served_is_said(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_serving_t *serving = NULL;
    pinnace_serve_options_t options = {.size = sizeof options};
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_serve(engine, &options, &serving));
    options.address = "nowhere";
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_serve(engine, &options, &serving));
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_serve(engine, NULL, &serving));
    CHECK(serving == NULL && pinnace_serving_url(NULL) == NULL);
    pinnace_serving_delete(NULL);
    pinnace_engine_delete(engine);
}

static void a_pod_and_one_that_is_not_there_are_explained(void) {
    pinnace_engine_t *engine = simulated();
    // Where one pod runs, the scheduler knows of a node.
    OK(apply(engine, "{apiVersion: v1, kind: Pod, metadata: {name: first}, spec: {containers: "
                     "[{name: a, image: b}]}}"));
    OK(pinnace_engine_wait(engine, "pods/first", NULL, "Ready", DEADLINE_MS));
    OK(apply(engine, "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {nodeSelector: {disk: "
                     "fast}, containers: [{name: a, image: b}]}}"));
    pinnace_bytes_t explanation = {0};
    OK(pinnace_engine_explain(engine, "a", NULL, &explanation));
    CHECK(strstr(explanation.data, "didn't match Pod's node affinity/selector"));
    pinnace_bytes_delete(&explanation);
    const char *pod = "{\"spec\": {\"containers\": [{\"name\": \"a\", \"image\": \"b\"}]}}";
    OK(pinnace_engine_explain_what_if(engine, pod, strlen(pod), NULL, &explanation));
    CHECK(strstr(explanation.data, "\"fitting\":[{"));
    pinnace_bytes_delete(&explanation);
    FAILS(PINNACE_CODE_NOT_FOUND, pinnace_engine_explain(engine, "b", NULL, &explanation));
    FAILS(PINNACE_CODE_ARGUMENT,
          pinnace_engine_explain_what_if(engine, "{", 1, NULL, &explanation));
    pinnace_engine_delete(engine);
}

void serving(void) {
    RUN(an_engine_serves_until_it_is_told_to_stop);
    RUN(what_cannot_be_served_is_said);
    RUN(a_pod_and_one_that_is_not_there_are_explained);
}
