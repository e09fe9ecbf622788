// The main job, in real containers: a Deployment of three web servers is applied, heals when one
// is killed behind its back, is scaled to five, and rolls to a new version while a client keeps
// asking. At the end nothing is left.
//
// PINNACE_RUNTIME names the runtime (`auto` if not set; `containerd:///path/to/socket` for a
// containerd elsewhere), PINNACE_IMAGES an OCI archive with the images to import first.

#include "story.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { MINUTE_MS = 60000, REPLICAS = 5, MAX_UNAVAILABLE = 1, MAX_PODS = 16 };

struct pod {
    char name[254], ip[INET6_ADDRSTRLEN];
    // What it answers, empty when it does not within a second.
    char answer[64];
};

static double now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1000 + (double)now.tv_nsec / 1e6;
}

static void all_available(pinnace_engine_t *engine, int replicas) {
    char goal[64];
    snprintf(goal, sizeof goal, "jsonpath={.status.availableReplicas}=%d", replicas);
    check(pinnace_engine_wait(engine, "deployments/web", "default", goal, MINUTE_MS));
}

static bool is_ready(const cJSON *pod) {
    const cJSON *status = cJSON_GetObjectItem(pod, "status"), *condition;
    cJSON_ArrayForEach(condition, cJSON_GetObjectItem(status, "conditions")) {
        const char *type = cJSON_GetStringValue(cJSON_GetObjectItem(condition, "type"));
        const char *value = cJSON_GetStringValue(cJSON_GetObjectItem(condition, "status"));
        if (type && value && strcmp(type, "Ready") == 0) return strcmp(value, "True") == 0;
    }
    return false;
}

// The pods that are ready and not going.
static int ready_pods(pinnace_engine_t *engine, struct pod pods[MAX_PODS]) {
    pinnace_bytes_t json = {0};
    check(pinnace_engine_list(engine, "pods", "default", "app=web", &json));
    cJSON *list = cJSON_ParseWithLength(json.data, json.len), *pod;
    int count = 0;
    cJSON_ArrayForEach(pod, list) {
        bool is_going = *text(pod, "metadata", "deletionTimestamp") != '\0';
        const char *ip = text(pod, "status", "podIP");
        if (!is_ready(pod) || is_going || *ip == '\0' || count == MAX_PODS) continue;
        struct pod *one = &pods[count++];
        snprintf(one->name, sizeof one->name, "%s", text(pod, "metadata", "name"));
        snprintf(one->ip, sizeof one->ip, "%s", ip);
    }
    cJSON_Delete(list);
    pinnace_bytes_delete(&json);
    return count;
}

// Asks a pod over HTTP, for at most a second.
static void *ask(void *argument) {
    struct pod *pod = argument;
    pod->answer[0] = '\0';
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(8080)};
    if (inet_pton(AF_INET, pod->ip, &address.sin_addr) != 1) return NULL;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval second = {.tv_sec = 1};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
    char request[128], answer[1024];
    int asked = snprintf(request, sizeof request,
                         "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", pod->ip);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
        send(fd, request, (size_t)asked, MSG_NOSIGNAL) == asked) {
        size_t length = 0;
        ssize_t got;
        while (length < sizeof answer - 1 &&
               (got = recv(fd, answer + length, sizeof answer - 1 - length, 0)) > 0)
            length += (size_t)got;
        answer[length] = '\0';
        const char *body = strstr(answer, "\r\n\r\n");
        if (body != NULL) snprintf(pod->answer, sizeof pod->answer, "%.63s", body + 4);
    }
    close(fd);
    return NULL;
}

// Asks every pod that is ready, all at once. Gives how many answered; prints what if told so, and
// counts those that answered `wanted`.
static int versions(pinnace_engine_t *engine, const char *told, const char *wanted, int *matching) {
    struct pod pods[MAX_PODS];
    pthread_t threads[MAX_PODS];
    int count = ready_pods(engine, pods), answered = 0;
    for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, ask, &pods[i]);
    for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
    if (told != NULL) printf("%s", told);
    for (int i = 0; i < count; i++) {
        if (pods[i].answer[0] == '\0') continue;
        answered++;
        if (matching != NULL) *matching += strcmp(pods[i].answer, wanted) == 0;
        if (told != NULL) printf(" %s", pods[i].answer);
    }
    if (told != NULL) printf("\n");
    fflush(stdout);
    return answered;
}

static bool contains(const char *environment, size_t length, const char *entry) {
    for (const char *at = environment; at < environment + length; at += strlen(at) + 1)
        if (strcmp(at, entry) == 0) return true;
    return false;
}

// Kills the processes of a pod, found by the name that their environment carries.
static void kill_container_of(const char *pod) {
    char mark[300], path[300], environment[65536];
    snprintf(mark, sizeof mark, "POD_NAME=%s", pod);
    DIR *processes = opendir("/proc");
    for (struct dirent *entry; processes && (entry = readdir(processes));) {
        if (!isdigit((unsigned char)entry->d_name[0])) continue;
        snprintf(path, sizeof path, "/proc/%s/environ", entry->d_name);
        FILE *file = fopen(path, "rb");
        if (file == NULL) continue;
        size_t length = fread(environment, 1, sizeof environment - 1, file);
        environment[length] = '\0';
        fclose(file);
        if (contains(environment, length, mark)) kill(atoi(entry->d_name), SIGKILL);
    }
    if (processes) closedir(processes);
}

static bool rollout_is_done(pinnace_engine_t *engine) {
    pinnace_bytes_t json = {0};
    check(pinnace_engine_rollout_status(engine, "deployments/web", "default", &json));
    cJSON *status = cJSON_ParseWithLength(json.data, json.len);
    bool done = cJSON_IsTrue(cJSON_GetObjectItem(status, "done"));
    cJSON_Delete(status);
    pinnace_bytes_delete(&json);
    return done;
}

// Rolls to version 2 and keeps asking all the while. Gives the least number of answers.
static int roll(pinnace_engine_t *engine) {
    static const char patch[] = "{\"spec\": {\"template\": {\"spec\": {\"containers\": [{"
                                "\"name\": \"web\","
                                "\"env\": [{\"name\": \"VERSION\", \"value\": \"2\"}]}]}}}}";
    check(pinnace_engine_patch(engine, "deployments/web", "default", PINNACE_PATCH_TYPE_STRATEGIC,
                               patch, strlen(patch), NULL));
    for (int least = INT_MAX;;) {
        int answered = versions(engine, NULL, NULL, NULL);
        if (answered < least) least = answered;
        if (rollout_is_done(engine)) {
            int new = 0;
            answered = versions(engine, "now they answer:", "2", &new);
            if (new == REPLICAS && answered == REPLICAS) return least;
            fprintf(stderr, "error: not all are new\n");
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

static int tell(pinnace_engine_t *engine) {
    pinnace_bytes_t json = {0};
    const char *images = getenv("PINNACE_IMAGES");
    if (images != NULL) {
        check(pinnace_engine_import_image(engine, images, &json));
        printf("imported %s\n", json.data);
        pinnace_bytes_delete(&json);
    }
    char *yaml = read_file(MANIFEST);
    check(pinnace_engine_apply(engine, yaml, strlen(yaml), NULL));
    free(yaml);
    check(pinnace_engine_wait(engine, "deployments/web", "default", "Available", MINUTE_MS));
    all_available(engine, 3);
    versions(engine, "three replicas are available:", NULL, NULL);

    struct pod pods[MAX_PODS];
    if (ready_pods(engine, pods) == 0) return 1;
    kill_container_of(pods[0].name);
    char victim[300];
    snprintf(victim, sizeof victim, "pods/%s", pods[0].name);
    check(pinnace_engine_wait(engine, victim, "default",
                              "jsonpath={.status.containerStatuses.0.restartCount}=1", MINUTE_MS));
    all_available(engine, 3);
    printf("a container of %s was killed behind the engine's back, and is back\n", pods[0].name);

    check(pinnace_engine_scale(engine, "deployments/web", "default", REPLICAS));
    all_available(engine, REPLICAS);
    versions(engine, "scaled to five:", NULL, NULL);

    int least = roll(engine);
    if (least < 0) return 1;
    printf("rolled to version 2; at least %d of %d answered at every moment\n", least, REPLICAS);
    if (least < REPLICAS - MAX_UNAVAILABLE) {
        fprintf(stderr, "error: only %d answered\n", least);
        return 1;
    }

    check(pinnace_engine_delete_object(engine, "deployments/web", "default",
                                       PINNACE_PROPAGATION_FOREGROUND, -1));
    check(pinnace_engine_wait(engine, "deployments/web", "default", "delete", MINUTE_MS));
    check(pinnace_engine_list(engine, "pods", "default", NULL, &json));
    cJSON *left = cJSON_ParseWithLength(json.data, json.len);
    int count = cJSON_GetArraySize(left);
    printf("deleted; %d pods are left\n", count);
    cJSON_Delete(left);
    pinnace_bytes_delete(&json);
    return count == 0 ? 0 : 1;
}

int main(void) {
    double begun = now_ms();
    const char *runtime = getenv("PINNACE_RUNTIME");
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_set_runtime(config, runtime != NULL ? runtime : "auto");
    pinnace_engine_t *engine = NULL;
    check(pinnace_engine_new(config, &engine));
    double took = now_ms() - begun;
    pinnace_bytes_t json = {0};
    check(pinnace_engine_runtime(engine, &json));
    cJSON *info = cJSON_ParseWithLength(json.data, json.len);
    printf("engine started in %.1fms: runtime %s (%s)\n", took,
           cJSON_GetStringValue(cJSON_GetObjectItem(info, "name")),
           cJSON_GetStringValue(cJSON_GetObjectItem(info, "why")));
    cJSON_Delete(info);
    pinnace_bytes_delete(&json);

    int told = tell(engine);
    check(pinnace_engine_shutdown(engine));
    pinnace_engine_delete(engine);
    if (told == 0) printf("the engine has ended; nothing is left of it\n");
    return told;
}
