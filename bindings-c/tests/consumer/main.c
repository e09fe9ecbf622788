// A program that links what was installed: starts an engine and asks it for something.
#include <pinnace.h>
#include <stdio.h>

int main(void) {
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_engine_t *engine = NULL;
    pinnace_error_t *error = pinnace_engine_new(config, &engine);
    pinnace_bytes_t found = {NULL, 0};
    if (error == NULL) error = pinnace_engine_get(engine, "namespaces/default", NULL, &found);
    if (error != NULL) fprintf(stderr, "%s\n", pinnace_error_message(error));
    int failed = error != NULL || found.len == 0;
    pinnace_error_delete(error);
    pinnace_bytes_delete(&found);
    pinnace_engine_delete(engine);
    if (!failed) printf("pinnace %s\n", pinnace_version());
    return failed;
}
