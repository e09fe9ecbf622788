#include "check.h"

jmp_buf check_failed;
int check_passed_count, check_failed_count;

const char *const WEB =
    "apiVersion: apps/v1\n"
    "kind: Deployment\n"
    "metadata: {name: web}\n"
    "spec:\n"
    "  replicas: 3\n"
    "  selector: {matchLabels: {app: web}}\n"
    "  template:\n"
    "    metadata: {labels: {app: web}}\n"
    "    spec: {containers: [{name: web, image: \"registry.example/web:1\"}]}\n";

void check_run(const char *name, void (*test)(void)) {
    fflush(stdout);
    if (setjmp(check_failed) == 0) {
        test();
        check_passed_count++;
    } else {
        printf("FAILED %s\n", name);
        check_failed_count++;
    }
}

pinnace_engine_t *simulated(void) {
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_set_nodes(config, 3);
    pinnace_engine_t *engine = NULL;
    OK(pinnace_engine_new(config, &engine));
    CHECK(engine != NULL);
    return engine;
}

pinnace_error_t *apply(const pinnace_engine_t *engine, const char *manifest) {
    return pinnace_engine_apply(engine, manifest, strlen(manifest), NULL);
}

void verbs(void);
void errors(void);
void streams(void);
void controllers(void);
void life(void);
void serving(void);
void admission(void);
void authenticator(void);
void authorizer(void);
void audit(void);
void scheduler(void);

int main(void) {
    verbs();
    errors();
    streams();
    controllers();
    life();
    serving();
    admission();
    authenticator();
    authorizer();
    audit();
    scheduler();
    printf("%d passed, %d failed\n", check_passed_count, check_failed_count);
    return check_failed_count > 0;
}
