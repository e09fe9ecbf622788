// Ten lines: three simulated nodes, a Deployment, and its pods.

#include "story.h"

int main(void) {
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_set_nodes(config, 3);
    pinnace_engine_t *engine = NULL;
    check(pinnace_engine_new(config, &engine));
    char *yaml = read_file(MANIFEST);
    check(pinnace_engine_apply(engine, yaml, strlen(yaml), NULL));
    check(pinnace_engine_wait(engine, "deployments/web", "default", "Available", 30000));
    check(pinnace_engine_scale(engine, "deployments/web", "default", 5));
    check(pinnace_engine_wait(engine, "deployments/web", "default",
                              "jsonpath={.status.availableReplicas}=5", 30000));
    pinnace_bytes_t pods = {0};
    check(pinnace_engine_list(engine, "pods", "default", "app=web", &pods));
    cJSON *list = cJSON_Parse(pods.data), *pod;
    cJSON_ArrayForEach(pod, list) {
        printf("%s %s %s\n", text(pod, "metadata", "name"), text(pod, "spec", "nodeName"),
               text(pod, "status", "phase"));
    }
    cJSON_Delete(list);
    pinnace_bytes_delete(&pods);
    free(yaml);
    pinnace_engine_delete(engine);
    return 0;
}
