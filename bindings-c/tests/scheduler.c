#include "check.h"

#include <stdatomic.h>

struct host {
    atomic_int asked, finalized;
};

// Lets pods onto the last node alone, and likes that one.
static bool judge(void *user_data, const char *pod, size_t pod_len, const pinnace_nodes_t *nodes,
                  double *scores, size_t scores_len) {
    struct host *host = user_data;
    atomic_fetch_add(&host->asked, 1);
    if (strlen(pod) != pod_len || pinnace_nodes_len(nodes) != scores_len) return false;
    const int64_t *cpu = pinnace_nodes_allocatable(nodes, "cpu");
    const int64_t *taken = pinnace_nodes_requested(nodes, "cpu");
    if (cpu == NULL || taken == NULL || pinnace_nodes_allocatable(nodes, "none") != NULL) return false;
    if (pinnace_nodes_name(nodes, scores_len) != NULL) return false;
    for (size_t node = 0; node < scores_len; node++) {
        const char *name = pinnace_nodes_name(nodes, node);
        const char *label = pinnace_nodes_label(nodes, node, "kubernetes.io/hostname");
        if (label == NULL || strcmp(name, label) != 0 || taken[node] > cpu[node]) return false;
        scores[node] = node + 1 == scores_len ? 100 : -1;
    }
    return true;
}

static bool cannot_tell(void *user_data, const char *pod, size_t pod_len,
                        const pinnace_nodes_t *nodes, double *scores, size_t scores_len) {
    (void)user_data, (void)pod_len, (void)nodes, (void)scores, (void)scores_len;
    return strstr(pod, "\"name\":\"warm\"") != NULL;
}

static void finalize(void *user_data) {
    atomic_fetch_add(&((struct host *)user_data)->finalized, 1);
}

static pinnace_engine_t *judging(pinnace_judge_callback_t callback, struct host *host) {
    pinnace_scheduler_plugin_options_t options = {
        .size = sizeof options, .name = "mine", .weight = 10, .timeout_ms = 30000};
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_set_nodes(config, 3);
    pinnace_config_add_scheduler_plugin(config, &options, callback, host, finalize);
    pinnace_engine_t *engine = NULL;
    OK(pinnace_engine_new(config, &engine));
    return engine;
}

#define POD(name)                                                                \
    "{apiVersion: v1, kind: Pod, metadata: {name: " name "}, spec: {containers: [{name: a, image: 'a:1'}]}}"

static void a_callback_says_where_pods_go(void) {
    struct host host = {0};
    pinnace_engine_t *engine = judging(judge, &host);
    OK(apply(engine, POD("a")));
    OK(pinnace_engine_wait(engine, "pods/a", NULL, "PodScheduled", DEADLINE_MS));
    CHECK(host.asked == 1);
    pinnace_engine_delete(engine);
    CHECK(host.finalized == 1);
}

static void a_callback_that_cannot_tell_is_named(void) {
    struct host host = {0};
    pinnace_engine_t *engine = judging(cannot_tell, &host);
    // Where one pod has a node, the scheduler knows of nodes.
    OK(apply(engine, POD("warm")));
    OK(pinnace_engine_wait(engine, "pods/warm", NULL, "PodScheduled", DEADLINE_MS));
    OK(apply(engine, POD("a")));
    OK(pinnace_engine_wait(engine, "pods/a", NULL, "PodScheduled=False", DEADLINE_MS));
    pinnace_bytes_t got = {0};
    OK(pinnace_engine_get(engine, "pods/a", NULL, &got));
    CHECK(strstr((const char *)got.data, "plugin \\\"mine\\\" cannot tell") != NULL);
    pinnace_bytes_delete(&got);
    pinnace_engine_delete(engine);
}

static void a_plugin_without_a_name_is_refused(void) {
    pinnace_config_t *config = pinnace_config_new();
    struct host host = {0};
    pinnace_config_add_scheduler_plugin(config, NULL, judge, &host, finalize);
    pinnace_engine_t *engine = NULL;
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_new(config, &engine));
    CHECK(host.finalized == 1 && engine == NULL);
}

static void a_policy_is_taken_or_refused(void) {
    const char *const texts[] = {
        "", "{apiVersion: descheduler/v1alpha2, kind: DeschedulerPolicy}",
        "{apiVersion: descheduler/v1alpha2, kind: Other}"};
    for (int wrong = 0; wrong < 3; wrong++) {
        pinnace_config_t *config = pinnace_config_new();
        pinnace_config_set_runtime(config, "simulated");
        pinnace_config_set_rebalancing(config, texts[wrong]);
        pinnace_engine_t *engine = NULL;
        pinnace_error_t *error = pinnace_engine_new(config, &engine);
        CHECK((error != NULL) == (wrong == 2));
        pinnace_error_delete(error);
        pinnace_engine_delete(engine);
    }
}

void scheduler(void) {
    RUN(a_callback_says_where_pods_go);
    RUN(a_callback_that_cannot_tell_is_named);
    RUN(a_plugin_without_a_name_is_refused);
    RUN(a_policy_is_taken_or_refused);
}
