#include "check.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

struct host {
    atomic_int asked, finalized;
};

static bool has(const char *about, const char *text) { return strstr(about, text) != NULL; }

static void identify(void *user_data, const char *about, size_t about_len,
                     pinnace_authentication_answer_t *answer) {
    atomic_fetch_add(&((struct host *)user_data)->asked, 1);
    if (strlen(about) != about_len) return;
    if (has(about, "\"ann\""))
        pinnace_authentication_accept(
            answer, "{\"username\": \"ann\", \"uid\": \"1\", \"groups\": [\"dev\"], \"extra\": "
                    "{\"example.com/shift\": [\"late\"]}}");
    if (has(about, "\"forged\"")) pinnace_authentication_refuse(answer, "it is forged");
    if (has(about, "\"nameless\"")) pinnace_authentication_accept(answer, "{\"uid\": \"1\"}");
    if (has(about, "\"mistyped\""))
        pinnace_authentication_accept(answer, "{\"username\": \"ann\", \"groups\": \"dev\"}");
    if (has(about, "\"garbled\"")) pinnace_authentication_accept(answer, "{");
    if (has(about, "\"null\"")) pinnace_authentication_accept(answer, NULL);
}

static void finalize(void *user_data) {
    atomic_fetch_add(&((struct host *)user_data)->finalized, 1);
}

/* Whether the answer to who a header makes the caller, over HTTPS, holds a text. */
static bool answers(const pinnace_serving_t *serving, const char *header, const char *text) {
    char ca[] = "/tmp/pinnace-ca-XXXXXX", command[1024], answer[8192];
    const char *pem = pinnace_serving_ca(serving);
    int file = mkstemp(ca);
    CHECK(file >= 0 && write(file, pem, strlen(pem)) == (ssize_t)strlen(pem));
    close(file);
    snprintf(command, sizeof command,
             "printf 'POST /apis/authentication.k8s.io/v1/selfsubjectreviews HTTP/1.1\\r\\n"
             "Host: localhost\\r\\n%s\\r\\nContent-Type: application/json\\r\\nConnection: close\\r\\n"
             "Content-Length: 2\\r\\n\\r\\n{}' | "
             "openssl s_client -quiet -verify_return_error -CAfile %s -connect %s 2>/dev/null",
             header, ca, pinnace_serving_url(serving) + strlen("https://"));
    FILE *client = popen(command, "r");
    CHECK(client != NULL);
    size_t len = fread(answer, 1, sizeof answer - 1, client);
    answer[len] = '\0';
    pclose(client);
    unlink(ca);
    return has(answer, text);
}

/* Whether what is said of a token, within the process, holds a text. */
static bool says(const pinnace_engine_t *engine, const char *token, const char *text) {
    char review[256];
    snprintf(review, sizeof review,
             "{\"apiVersion\": \"authentication.k8s.io/v1\", \"kind\": \"TokenReview\", \"spec\": "
             "{\"token\": \"%s\"}}",
             token);
    pinnace_bytes_t made = {0};
    OK(pinnace_engine_create(engine, review, strlen(review), NULL, &made));
    bool said = has((const char *)made.data, text);
    pinnace_bytes_delete(&made);
    return said;
}

static pinnace_engine_t *started(pinnace_config_t *config, pinnace_serving_t **serving) {
    pinnace_engine_t *engine = NULL;
    pinnace_config_set_runtime(config, "simulated");
    pinnace_config_set_nodes(config, 0);
    OK(pinnace_engine_new(config, &engine));
    pinnace_serve_options_t options = {.size = sizeof options, .address = "127.0.0.1:0"};
    OK(pinnace_engine_serve(engine, &options, serving));
    return engine;
}

static void a_callback_knows_tokens(void) {
    struct host host = {0};
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_add_token_authenticator(config, "test", identify, &host, finalize);
    pinnace_serving_t *serving = NULL;
    pinnace_engine_t *engine = started(config, &serving);
    const char *ann = "\"username\":\"ann\"";
    CHECK(answers(serving, "Authorization: Bearer ann", ann));
    CHECK(answers(serving, "Authorization: Bearer ann", "\"example.com/shift\":[\"late\"]"));
    CHECK(host.asked == 2);
    const char *others[] = {"other", "forged", "nameless", "mistyped", "garbled", "null"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char header[64];
        snprintf(header, sizeof header, "Authorization: Bearer %s", others[i]);
        CHECK(answers(serving, header, "HTTP/1.1 401 "));
    }
    CHECK(says(engine, "ann", "\"authenticated\":true"));
    CHECK(says(engine, "forged", "\"error\":\"it is forged\""));
    CHECK(says(engine, "nameless", "failed calling authenticator \\\"test\\\": the user has no name"));
    CHECK(says(engine, "mistyped", "the user cannot be read: invalid type: string \\\"dev\\\""));
    CHECK(says(engine, "garbled", "the user cannot be read: EOF"));
    CHECK(says(engine, "null", "user is NULL or not UTF-8"));
    pinnace_engine_delete(engine);
    pinnace_serving_delete(serving);
    CHECK(host.finalized == 1);
}

static void a_callback_knows_requests(void) {
    struct host host = {0};
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_add_authenticator(config, NULL, identify, &host, finalize);
    pinnace_serving_t *serving = NULL;
    pinnace_engine_t *engine = started(config, &serving);
    CHECK(answers(serving, "X-User: ann", "\"username\":\"ann\""));
    CHECK(answers(serving, "X-User: nameless", "HTTP/1.1 401 "));
    CHECK(answers(serving, "X-User: other", "HTTP/1.1 401 "));
    CHECK(host.asked == 3);
    pinnace_engine_delete(engine);
    pinnace_serving_delete(serving);
    CHECK(host.finalized == 1);
}

static void a_callback_that_is_none_is_refused(void) {
    struct host host = {0};
    pinnace_config_t *config = pinnace_config_new();
    pinnace_config_add_token_authenticator(config, NULL, NULL, &host, finalize);
    pinnace_config_add_authenticator(NULL, NULL, identify, &host, finalize);
    CHECK(host.finalized == 2);
    pinnace_engine_t *engine = NULL;
    FAILS(PINNACE_CODE_ARGUMENT, pinnace_engine_new(config, &engine));
    pinnace_authentication_accept(NULL, "{}");
    pinnace_authentication_refuse(NULL, NULL);
}

void authenticator(void) {
    RUN(a_callback_knows_tokens);
    RUN(a_callback_knows_requests);
    RUN(a_callback_that_is_none_is_refused);
}
