#include "check.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS 8
#define OBJECTS 20

struct worker {
    const pinnace_engine_t *engine;
    int number, failures;
};

static void *create_many(void *argument) {
    struct worker *worker = argument;
    for (int object = 0; object < OBJECTS; object++) {
        char json[200];
        snprintf(json, sizeof json,
                 "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"t%d-%d\","
                 "\"labels\":{\"mine\":\"\"}}}",
                 worker->number, object);
        pinnace_error_t *error =
            pinnace_engine_create(worker->engine, json, strlen(json), NULL, NULL);
        worker->failures += error != NULL;
        pinnace_error_delete(error);
    }
    return NULL;
}

static void many_threads_use_one_engine(void) {
    pinnace_engine_t *engine = simulated();
    pthread_t threads[THREADS];
    struct worker workers[THREADS];
    for (int number = 0; number < THREADS; number++) {
        workers[number] = (struct worker){.engine = engine, .number = number};
        CHECK(pthread_create(&threads[number], NULL, create_many, &workers[number]) == 0);
    }
    for (int number = 0; number < THREADS; number++) {
        pthread_join(threads[number], NULL);
        CHECK(workers[number].failures == 0);
    }
    pinnace_bytes_t list = {0};
    OK(pinnace_engine_list(engine, "configmaps", NULL, "mine", &list));
    int objects = 0;
    for (const char *at = list.data; (at = strstr(at, "\"kind\":\"ConfigMap\"")); at++) objects++;
    CHECK(objects == THREADS * OBJECTS);
    pinnace_bytes_delete(&list);
    pinnace_engine_delete(engine);
}

static void *wait_forever(void *argument) {
    struct worker *worker = argument;
    pinnace_error_t *error =
        pinnace_engine_wait(worker->engine, "pods/none", NULL, "Ready", UINT64_MAX);
    worker->failures = pinnace_error_code(error);
    pinnace_error_delete(error);
    return NULL;
}

static void a_shutdown_ends_the_calls_of_other_threads(void) {
    pinnace_engine_t *engine = simulated();
    pthread_t thread;
    struct worker worker = {.engine = engine};
    CHECK(pthread_create(&thread, NULL, wait_forever, &worker) == 0);
    OK(pinnace_engine_shutdown(engine));
    pthread_join(thread, NULL);
    CHECK(worker.failures == PINNACE_CODE_CLOSED);
    OK(pinnace_engine_shutdown(engine));
    FAILS(PINNACE_CODE_CLOSED, apply(engine, WEB));
    pinnace_engine_delete(engine);
}

static void objects_outlive_an_engine_on_disk(void) {
    char directory[] = "/tmp/pinnace-c-XXXXXX";
    CHECK(mkdtemp(directory) != NULL);
    for (int run = 0; run < 2; run++) {
        pinnace_config_t *config = pinnace_config_new();
        pinnace_config_set_runtime(config, "simulated");
        pinnace_config_set_data_dir(config, directory);
        pinnace_config_set_node_name(config, "here");
        pinnace_config_set_on_shutdown(config, PINNACE_ON_SHUTDOWN_STOP);
        pinnace_config_set_seed(config, 7);
        pinnace_engine_t *engine = NULL;
        OK(pinnace_engine_new(config, &engine));
        if (run == 0) OK(apply(engine, WEB));
        pinnace_bytes_t json = {0};
        OK(pinnace_engine_get(engine, "deploy/web", NULL, &json));
        pinnace_bytes_delete(&json);
        pinnace_engine_delete(engine);
    }
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", directory);
    CHECK(system(command) == 0);
}

static void drivers_register_where_the_host_says(void) {
    char directory[] = "/tmp/pinnace-c-XXXXXX", plugins[64];
    CHECK(mkdtemp(directory) != NULL);
    snprintf(plugins, sizeof plugins, "%s/plugins", directory);
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "process");
    pinnace_config_set_plugins_dir(config, plugins);
    pinnace_engine_t *engine = NULL;
    OK(pinnace_engine_new(config, &engine));
    for (int waited = 0; access(plugins, F_OK) != 0; waited += 10) {
        CHECK(waited < DEADLINE_MS);
        usleep(10000);
    }
    pinnace_engine_delete(engine);
    CHECK(rmdir(plugins) == 0 && rmdir(directory) == 0);
}

static void two_engines_know_nothing_of_each_other(void) {
    pinnace_engine_t *one = simulated(), *other = simulated();
    OK(apply(one, WEB));
    pinnace_bytes_t json = {0};
    FAILS(PINNACE_CODE_NOT_FOUND, pinnace_engine_get(other, "deploy/web", NULL, &json));
    pinnace_engine_delete(one);
    OK(apply(other, WEB));
    pinnace_engine_delete(other);
}

static void the_version_is_said(void) {
    CHECK(strncmp(pinnace_version(), "0.", 2) == 0);
}

static void a_scheduler_configuration_is_taken_or_refused(void) {
    const char *const texts[] = {
        "{apiVersion: kubescheduler.config.k8s.io/v1, kind: KubeSchedulerConfiguration}",
        "{apiVersion: kubescheduler.config.k8s.io/v1, kind: Other}"};
    for (int wrong = 0; wrong < 2; wrong++) {
        pinnace_config_t *config = pinnace_config_new();
        pinnace_config_set_runtime(config, "simulated");
        pinnace_config_set_scheduler(config, texts[wrong]);
        pinnace_engine_t *engine = NULL;
        pinnace_error_t *error = pinnace_engine_new(config, &engine);
        CHECK((error != NULL) == wrong);
        pinnace_error_delete(error);
        pinnace_engine_delete(engine);
    }
}

static void an_admission_configuration_is_taken_or_refused(void) {
    const char *const texts[] = {
        "{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: [{name: "
        "PodSecurity, configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, kind: "
        "PodSecurityConfiguration, defaults: {enforce: baseline}}}]}",
        "{apiVersion: apiserver.config.k8s.io/v1, kind: Other}"};
    for (int wrong = 0; wrong < 2; wrong++) {
        pinnace_config_t *config = pinnace_config_new();
        pinnace_config_set_runtime(config, "simulated");
        pinnace_config_set_admission_configuration(config, texts[wrong]);
        pinnace_config_disable_admission(config, "LimitRanger");
        pinnace_engine_t *engine = NULL;
        pinnace_error_t *error = pinnace_engine_new(config, &engine);
        CHECK((error != NULL) == wrong);
        if (engine != NULL) {
            FAILS(PINNACE_CODE_FORBIDDEN,
                  apply(engine, "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {hostNetwork: "
                                "true, containers: [{name: c, image: i}]}}"));
        }
        pinnace_error_delete(error);
        pinnace_engine_delete(engine);
    }
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_disable_admission(config, "Quota");
    pinnace_engine_t *engine = NULL;
    pinnace_error_t *error = pinnace_engine_new(config, &engine);
    CHECK(error != NULL);
    pinnace_error_delete(error);
}

void life(void) {
    RUN(an_admission_configuration_is_taken_or_refused);
    RUN(a_scheduler_configuration_is_taken_or_refused);
    RUN(many_threads_use_one_engine);
    RUN(a_shutdown_ends_the_calls_of_other_threads);
    RUN(objects_outlive_an_engine_on_disk);
    RUN(drivers_register_where_the_host_says);
    RUN(two_engines_know_nothing_of_each_other);
    RUN(the_version_is_said);
}
