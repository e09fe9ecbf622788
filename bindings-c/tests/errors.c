#include "check.h"

static void an_error_says_code_reason_message_and_object(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_bytes_t json = {.data = (char *)"untouched", .len = 9};
    pinnace_error_t *error = pinnace_engine_get(engine, "pods/none", NULL, &json);
    CHECK(strcmp(json.data, "untouched") == 0 && json.len == 9);
    CHECK(pinnace_error_code(error) == PINNACE_CODE_NOT_FOUND);
    CHECK(pinnace_error_http_code(error) == 404);
    CHECK(strcmp(pinnace_error_reason(error), "NotFound") == 0);
    CHECK(strcmp(pinnace_error_message(error), "pods \"none\" not found") == 0);
    CHECK(strcmp(pinnace_error_object(error), "pods/none") == 0);
    CHECK(!pinnace_error_is_retryable(error));
    pinnace_error_delete(error);
    pinnace_engine_delete(engine);
}

static void every_kind_of_error_has_its_code(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_bytes_t json = {0};
    FAILS(PINNACE_CODE_NOT_FOUND, pinnace_engine_get(engine, "frogs/none", NULL, &json));
    FAILS(PINNACE_CODE_BAD_REQUEST, pinnace_engine_get(engine, "nonsense", NULL, &json));
    FAILS(PINNACE_CODE_BAD_REQUEST, pinnace_engine_list(engine, "pods", NULL, "!!", &json));
    FAILS(PINNACE_CODE_MANIFEST, apply(engine, "a: [1"));
    FAILS(PINNACE_CODE_INVALID, apply(engine, "{apiVersion: v1, kind: Pod, metadata: {name: a}}"));
    FAILS(PINNACE_CODE_TIMEOUT, pinnace_engine_wait(engine, "pods/none", NULL, "Ready", 1));
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_get(engine, "pods/\xff", NULL, &json));
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_get(engine, "pods/a", "", &json));
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_patch(engine, "pods/a", NULL, 99, "{}", 2, NULL));
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_patch(engine, "pods/a", NULL, 0, "{", 1, NULL));
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_delete_object(engine, "pods/a", NULL, 99, 0));
    pinnace_selection_t unsized = {.labels = "a=b"};
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_list_with(engine, "pods", &unsized, &json));
    CHECK(json.data == NULL);
    pinnace_engine_delete(engine);
}

static void a_wrong_configuration_is_refused(void) {
    pinnace_engine_t *engine = NULL;
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "none");
    FAILS(PINNACE_CODE_CONFIG, pinnace_engine_new(config, &engine));
    config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_set_on_shutdown(config, 99);
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_new(config, &engine));
    config = pinnace_config_new();
    pinnace_config_set_node_name(config, "\xff");
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_new(config, &engine));
    CHECK(engine == NULL);
    config = pinnace_config_new();
    pinnace_config_delete(config);
}

static void null_is_an_error_or_nothing(void) {
    pinnace_engine_t *e = simulated();
    pinnace_bytes_t b = {0};
    const int a = PINNACE_CODE_ARGUMENT;
    pinnace_stream_t *stream = NULL;
    pinnace_watch_t *watch = NULL;

    FAILS(a, pinnace_engine_new(NULL, NULL));
    FAILS(a, pinnace_engine_shutdown(NULL));
    FAILS(a, pinnace_engine_runtime(NULL, &b));
    FAILS(a, pinnace_engine_runtime(e, NULL));
    FAILS(a, pinnace_engine_wait(NULL, "pods/a", NULL, "Ready", 1));
    FAILS(a, pinnace_engine_wait(e, NULL, NULL, "Ready", 1));
    FAILS(a, pinnace_engine_wait(e, "pods/a", NULL, NULL, 1));
    FAILS(a, pinnace_engine_import_image(NULL, "a", NULL));
    FAILS(a, pinnace_engine_import_image(e, NULL, NULL));
    FAILS(a, pinnace_engine_apply(NULL, "", 0, NULL));
    FAILS(a, pinnace_engine_apply(e, NULL, 0, NULL));
    FAILS(a, pinnace_engine_apply(e, NULL, 1, NULL));
    FAILS(a, pinnace_engine_delete_manifest(NULL, "", 0));
    FAILS(a, pinnace_engine_delete_manifest(e, NULL, 0));
    FAILS(a, pinnace_engine_get(NULL, "pods/a", NULL, &b));
    FAILS(a, pinnace_engine_get(e, NULL, NULL, &b));
    FAILS(a, pinnace_engine_get(e, "pods/a", NULL, NULL));
    FAILS(a, pinnace_engine_list(NULL, "pods", NULL, NULL, &b));
    FAILS(a, pinnace_engine_list(e, NULL, NULL, NULL, &b));
    FAILS(a, pinnace_engine_list(e, "pods", NULL, NULL, NULL));
    FAILS(a, pinnace_engine_list_with(e, "pods", NULL, NULL));
    FAILS(a, pinnace_engine_create(NULL, "{}", 2, NULL, NULL));
    FAILS(a, pinnace_engine_create(e, NULL, 2, NULL, NULL));
    FAILS(a, pinnace_engine_update(NULL, "{}", 2, NULL, NULL));
    FAILS(a, pinnace_engine_update(e, NULL, 2, NULL, NULL));
    FAILS(a, pinnace_engine_update_status(NULL, "{}", 2, NULL, NULL));
    FAILS(a, pinnace_engine_update_status(e, NULL, 2, NULL, NULL));
    FAILS(a, pinnace_engine_patch(NULL, "pods/a", NULL, 0, "{}", 2, NULL));
    FAILS(a, pinnace_engine_patch(e, NULL, NULL, 0, "{}", 2, NULL));
    FAILS(a, pinnace_engine_patch(e, "pods/a", NULL, 0, NULL, 2, NULL));
    FAILS(a, pinnace_engine_delete_object(NULL, "pods/a", NULL, 0, 0));
    FAILS(a, pinnace_engine_delete_object(e, NULL, NULL, 0, 0));
    FAILS(a, pinnace_engine_scale(NULL, "deploy/a", NULL, 1));
    FAILS(a, pinnace_engine_scale(e, NULL, NULL, 1));
    FAILS(a, pinnace_engine_rollout_status(NULL, "deploy/a", NULL, &b));
    FAILS(a, pinnace_engine_rollout_status(e, NULL, NULL, &b));
    FAILS(a, pinnace_engine_rollout_status(e, "deploy/a", NULL, NULL));
    FAILS(a, pinnace_engine_rollout_undo(NULL, "deploy/a", NULL, 0));
    FAILS(a, pinnace_engine_rollout_undo(e, NULL, NULL, 0));
    FAILS(a, pinnace_engine_rollout_restart(NULL, "deploy/a", NULL));
    FAILS(a, pinnace_engine_rollout_restart(e, NULL, NULL));
    FAILS(a, pinnace_engine_rollout_pause(NULL, "deploy/a", NULL, true));
    FAILS(a, pinnace_engine_rollout_pause(e, NULL, NULL, true));
    FAILS(a, pinnace_engine_logs(NULL, "a", NULL, NULL, &b));
    FAILS(a, pinnace_engine_logs(e, NULL, NULL, NULL, &b));
    FAILS(a, pinnace_engine_logs(e, "a", NULL, NULL, NULL));
    FAILS(a, pinnace_engine_follow_logs(NULL, "a", NULL, NULL, &stream));
    FAILS(a, pinnace_engine_follow_logs(e, NULL, NULL, NULL, &stream));
    FAILS(a, pinnace_engine_follow_logs(e, "a", NULL, NULL, NULL));
    FAILS(a, pinnace_engine_watch(NULL, "pods", NULL, &stream));
    FAILS(a, pinnace_engine_watch(e, NULL, NULL, &stream));
    FAILS(a, pinnace_engine_watch(e, "pods", NULL, NULL));
    FAILS(a, pinnace_engine_watch_with(e, "pods", NULL, NULL, NULL, NULL, &watch));
    FAILS(a, pinnace_engine_controller(e, "pods", NULL, NULL, NULL, NULL, NULL));
    FAILS(a, pinnace_controller_enqueue(NULL, "a", "b"));
    FAILS(a, pinnace_stream_next(NULL, 0, &b));
    CHECK(b.data == NULL && stream == NULL && watch == NULL);
    CHECK(pinnace_stream_fd(NULL) == -1);

    CHECK(pinnace_error_code(NULL) == 0 && pinnace_error_http_code(NULL) == 0);
    CHECK(pinnace_error_reason(NULL) == NULL && pinnace_error_message(NULL) == NULL);
    CHECK(pinnace_error_object(NULL) == NULL && !pinnace_error_is_retryable(NULL));
    pinnace_error_delete(NULL);
    pinnace_bytes_delete(NULL);
    pinnace_stream_stop(NULL);
    pinnace_stream_delete(NULL);
    pinnace_watch_delete(NULL);
    pinnace_controller_delete(NULL);
    pinnace_engine_delete(NULL);
    pinnace_config_delete(NULL);
    pinnace_config_set_runtime(NULL, "simulated");
    pinnace_config_set_nodes(NULL, 1);
    pinnace_config_set_node_name(NULL, "a");
    pinnace_config_set_data_dir(NULL, "a");
    pinnace_config_set_plugins_dir(NULL, "a");
    pinnace_config_set_on_shutdown(NULL, 0);
    pinnace_config_set_seed(NULL, 0);
    pinnace_engine_delete(e);
}

void errors(void) {
    RUN(an_error_says_code_reason_message_and_object);
    RUN(every_kind_of_error_has_its_code);
    RUN(a_wrong_configuration_is_refused);
    RUN(null_is_an_error_or_nothing);
}
