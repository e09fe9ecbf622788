#include "check.h"

static int count(const char *text, const char *part) {
    int found = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part)) found++;
    return found;
}

static void the_main_job(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_bytes_t applied = {0};
    OK(pinnace_engine_apply(engine, WEB, strlen(WEB), &applied));
    CHECK(strstr(applied.data, "\"change\":\"created\"") && strlen(applied.data) == applied.len);
    pinnace_bytes_delete(&applied);
    pinnace_bytes_delete(&applied);
    OK(pinnace_engine_wait(engine, "deployments/web", "default", "Available", DEADLINE_MS));
    OK(pinnace_engine_scale(engine, "deployments/web", NULL, 5));
    const char *five = "jsonpath={.status.availableReplicas}=5";
    OK(pinnace_engine_wait(engine, "deployments/web", NULL, five, DEADLINE_MS));
    pinnace_bytes_t pods = {0};
    OK(pinnace_engine_list(engine, "pods", "default", "app=web", &pods));
    CHECK(count(pods.data, "\"phase\":\"Running\"") == 5);
    pinnace_bytes_delete(&pods);
    OK(pinnace_engine_delete_object(engine, "deployments/web", NULL, PINNACE_PROPAGATION_FOREGROUND,
                                    -1));
    OK(pinnace_engine_wait(engine, "deployments/web", NULL, "delete", DEADLINE_MS));
    OK(pinnace_engine_list(engine, "pods", NULL, NULL, &pods));
    CHECK(strcmp(pods.data, "[]") == 0);
    pinnace_bytes_delete(&pods);
    pinnace_engine_delete(engine);
}

static const char A[] = "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\","
                        " \"metadata\": {\"name\": \"a\"}, \"data\": {\"x\": \"1\"}}";
static const char A2[] = "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\","
                         " \"metadata\": {\"name\": \"a\"}, \"data\": {\"x\": \"2\"}}";

static void check_patch(pinnace_engine_t *engine, int type, const char *patch, const char *data) {
    pinnace_bytes_t patched = {0};
    OK(pinnace_engine_patch(engine, "cm/a", NULL, type, patch, strlen(patch), &patched));
    CHECK(strstr(patched.data, data));
    pinnace_bytes_delete(&patched);
}

static void an_object_is_created_read_replaced_patched_and_deleted(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_bytes_t created = {0}, read = {0}, updated = {0};
    OK(pinnace_engine_create(engine, A, strlen(A), NULL, &created));
    OK(pinnace_engine_get(engine, "cm/a", "default", &read));
    CHECK(strcmp(created.data, read.data) == 0);
    OK(pinnace_engine_update(engine, A2, strlen(A2), NULL, &updated));
    CHECK(strstr(updated.data, "\"data\":{\"x\":\"2\"}"));
    FAILS(PINNACE_CODE_CONFLICT,
          pinnace_engine_update(engine, created.data, created.len, NULL, NULL));
    FAILS(PINNACE_CODE_ALREADY_EXISTS, pinnace_engine_create(engine, A, strlen(A), NULL, NULL));
    check_patch(engine, PINNACE_PATCH_TYPE_MERGE, "{\"data\": {\"y\": \"3\"}}",
                "\"data\":{\"x\":\"2\",\"y\":\"3\"}");
    check_patch(engine, PINNACE_PATCH_TYPE_JSON, "[{\"op\": \"remove\", \"path\": \"/data/x\"}]",
                "\"data\":{\"y\":\"3\"}");
    check_patch(engine, PINNACE_PATCH_TYPE_STRATEGIC, "{\"data\": {\"y\": null, \"z\": \"4\"}}",
                "\"data\":{\"z\":\"4\"}");
    check_patch(engine, PINNACE_PATCH_TYPE_APPLY, A, "\"x\":\"1\"");
    OK(pinnace_engine_delete_object(engine, "cm/a", NULL, PINNACE_PROPAGATION_DEFAULT, 0));
    FAILS(PINNACE_CODE_NOT_FOUND, pinnace_engine_get(engine, "cm/a", NULL, &read));
    pinnace_bytes_delete(&created);
    pinnace_bytes_delete(&read);
    pinnace_bytes_delete(&updated);
    pinnace_engine_delete(engine);
}

static void a_status_is_replaced_without_the_spec(void) {
    pinnace_engine_t *engine = simulated();
    OK(apply(engine, "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {nodeSelector: {disk: "
                     "fast}, containers: [{name: a, image: b}]}}"));
    const char *pod = "{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\"},"
                      " \"spec\": {\"containers\": [{\"name\": \"a\", \"image\": \"b\"}]},"
                      " \"status\": {\"message\": \"hello\"}}";
    pinnace_bytes_t updated = {0};
    OK(pinnace_engine_update_status(engine, pod, strlen(pod), NULL, &updated));
    CHECK(strstr(updated.data, "\"message\":\"hello\""));
    CHECK(strstr(updated.data, "\"nodeSelector\":{\"disk\":\"fast\"}"));
    pinnace_bytes_delete(&updated);
    pinnace_engine_delete(engine);
}

static void lists_are_chosen_by_namespace_labels_and_fields(void) {
    pinnace_engine_t *engine = simulated();
    OK(apply(engine, "{apiVersion: v1, kind: Namespace, metadata: {name: other}}"));
    OK(pinnace_engine_create(engine, A, strlen(A), "other", NULL));
    OK(pinnace_engine_create(engine, A, strlen(A), NULL, NULL));
    pinnace_selection_t selection = {.size = sizeof selection, .fields = "metadata.name=a"};
    pinnace_bytes_t list = {0};
    OK(pinnace_engine_list_with(engine, "cm", &selection, &list));
    CHECK(count(list.data, "\"kind\":\"ConfigMap\"") == 2);
    pinnace_bytes_delete(&list);
    selection.namespace_ = "other";
    OK(pinnace_engine_list_with(engine, "cm", &selection, &list));
    CHECK(count(list.data, "\"kind\":\"ConfigMap\"") == 1);
    pinnace_bytes_delete(&list);
    // As an older program has it, that knows of nothing but the namespace.
    selection.size = offsetof(pinnace_selection_t, labels);
    selection.fields = "no selector";
    OK(pinnace_engine_list_with(engine, "cm", &selection, &list));
    pinnace_bytes_delete(&list);
    OK(pinnace_engine_list_with(engine, "namespaces", NULL, &list));
    CHECK(count(list.data, "\"kind\":\"Namespace\"") == 5);
    pinnace_bytes_delete(&list);
    OK(pinnace_engine_delete_manifest(engine, A, strlen(A)));
    FAILS(PINNACE_CODE_NOT_FOUND, pinnace_engine_get(engine, "cm/a", NULL, &list));
    OK(pinnace_engine_get(engine, "cm/a", "other", &list));
    pinnace_bytes_delete(&list);
    pinnace_engine_delete(engine);
}

static void a_rollout_is_told_restarted_paused_and_undone(void) {
    pinnace_engine_t *engine = simulated();
    OK(apply(engine, WEB));
    OK(pinnace_engine_wait(engine, "deployments/web", NULL, "Available", DEADLINE_MS));
    pinnace_bytes_t status = {0};
    OK(pinnace_engine_rollout_status(engine, "deployments/web", NULL, &status));
    CHECK(strstr(status.data, "\"done\":true"));
    pinnace_bytes_delete(&status);
    OK(pinnace_engine_rollout_restart(engine, "deployments/web", NULL));
    OK(pinnace_engine_wait(engine, "deployments/web", NULL,
                           "jsonpath={.spec.template.metadata.annotations}", DEADLINE_MS));
    const char *image = "[{\"op\": \"replace\", \"path\": "
                        "\"/spec/template/spec/containers/0/image\", \"value\": \"web:2\"}]";
    OK(pinnace_engine_patch(engine, "deploy/web", NULL, PINNACE_PATCH_TYPE_JSON, image,
                            strlen(image), NULL));
    OK(pinnace_engine_wait(engine, "deployments/web", NULL, "Available", DEADLINE_MS));
    OK(pinnace_engine_rollout_undo(engine, "deployments/web", NULL, 1));
    OK(pinnace_engine_wait(engine, "deployments/web", NULL,
                           "jsonpath={.spec.template.spec.containers.0.image}="
                           "registry.example/web:1",
                           DEADLINE_MS));
    OK(pinnace_engine_rollout_pause(engine, "deployments/web", NULL, true));
    OK(pinnace_engine_wait(engine, "deployments/web", NULL, "jsonpath={.spec.paused}=true",
                           DEADLINE_MS));
    FAILS(PINNACE_CODE_BAD_REQUEST,
          pinnace_engine_rollout_undo(engine, "deployments/web", NULL, 0));
    OK(pinnace_engine_rollout_pause(engine, "deployments/web", NULL, false));
    pinnace_engine_delete(engine);
}

static void the_runtime_says_what_it_is_and_imports_images(void) {
    pinnace_engine_t *engine = simulated();
    pinnace_bytes_t info = {0}, names = {0};
    OK(pinnace_engine_runtime(engine, &info));
    CHECK(strstr(info.data, "\"name\":\"simulated\"") && strstr(info.data, "\"why\":"));
    OK(pinnace_engine_import_image(engine, "/images/web.tar", &names));
    CHECK(strcmp(names.data, "[\"web\"]") == 0);
    OK(pinnace_engine_import_image(engine, "/images/web.tar", NULL));
    pinnace_bytes_delete(&info);
    pinnace_bytes_delete(&names);
    pinnace_engine_delete(engine);
}

void verbs(void) {
    RUN(the_main_job);
    RUN(an_object_is_created_read_replaced_patched_and_deleted);
    RUN(a_status_is_replaced_without_the_spec);
    RUN(lists_are_chosen_by_namespace_labels_and_fields);
    RUN(a_rollout_is_told_restarted_paused_and_undone);
    RUN(the_runtime_says_what_it_is_and_imports_images);
}
