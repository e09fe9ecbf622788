// Pinnace: Kubernetes as a library, for C and C++.
//
// This file is generated from bindings-c/src; change it there.
//
// Ownership
//
// - Handles (`pinnace_x_t *`) are opaque. Who gets one from a `_new` function or through an
//   out-parameter owns it and ends it with the `_delete` of its type, once; `_delete` takes NULL.
// - A parameter is borrowed for the duration of the call unless it says that it is taken. Nothing
//   that is borrowed is kept: the engine makes copies.
// - What is returned as `const char *` belongs to the handle it comes from, and is valid as long.
// - `pinnace_bytes_t` that a function fills in belong to the caller: `pinnace_bytes_delete`.
//
// Errors
//
// A function that can fail returns an owned `pinnace_error_t *`, NULL on success. Out-parameters
// come last, may be NULL where that is said, and are untouched on error. NULL for a parameter that
// must not be NULL, text that is not UTF-8 and a failure inside the engine are errors as well; no
// panic comes through.
//
// Threads
//
// - Functions that take a handle as `const` may be called from any number of threads at once.
// - The others need the handle for themselves while they run; `_delete` needs it for good.
// - Functions that wait (most of `pinnace_engine_*`) block the calling thread, not the engine.
// - Callbacks are called on threads of the engine. They may call any function on the engine except
//   those that end it (`pinnace_engine_shutdown`, `pinnace_engine_delete`). Their user data must be
//   fit for use on other threads. The finalizer, if not NULL, is called once with the user data,
//   on any thread, when no call is under way and none will come, also when the function that
//   would have installed the callback fails.
//
// Text
//
// Strings are UTF-8 and end with NUL; objects are JSON documents as Kubernetes defines them, with
// a length. Where a namespace is NULL it is `default`, unless said otherwise. Objects are named as
// kubectl names them: `deployments/web`, `deploy/web`, `nodes/n1`.


#ifndef PINNACE_H
#define PINNACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// What went wrong, by number. Numbers are never changed; new ones are added at the end, and code
// that meets one it doesn't know should treat it as `PINNACE_CODE_INTERNAL`.
typedef enum {
    // Something in the engine or on this machine has failed.
    PINNACE_CODE_INTERNAL = 1,
    // An argument is NULL, no UTF-8 or otherwise unfit.
    PINNACE_CODE_ARGUMENT = 2,
    // The configuration cannot be.
    PINNACE_CODE_CONFIG = 3,
    // A manifest cannot be read; the message has line and column.
    PINNACE_CODE_MANIFEST = 4,
    // The request cannot be read, or asks for what there is not.
    PINNACE_CODE_BAD_REQUEST = 5,
    // There is no such object, or no such kind.
    PINNACE_CODE_NOT_FOUND = 6,
    // An object of that name exists.
    PINNACE_CODE_ALREADY_EXISTS = 7,
    // The object has changed since it was read, or is not what the caller expects.
    PINNACE_CODE_CONFLICT = 8,
    // The object does not pass validation.
    PINNACE_CODE_INVALID = 9,
    // It may not be done.
    PINNACE_CODE_FORBIDDEN = 10,
    // What was waited for has not come.
    PINNACE_CODE_TIMEOUT = 11,
    // The engine has been shut down, or the stream has ended.
    PINNACE_CODE_CLOSED = 12,
    // A watch has fallen too far behind, or began too far back: list again.
    PINNACE_CODE_EXPIRED = 13,
    // The API has refused for another reason, which `pinnace_error_reason` names.
    PINNACE_CODE_REFUSED = 14,
} pinnace_code_t;

// How `pinnace_engine_patch` reads a patch.
typedef enum {
    // A partial object (RFC 7386).
    PINNACE_PATCH_TYPE_MERGE = 0,
    // A list of operations (RFC 6902).
    PINNACE_PATCH_TYPE_JSON = 1,
    // A partial object whose lists are merged by their keys.
    PINNACE_PATCH_TYPE_STRATEGIC = 2,
    // What the caller wants of the object: server-side apply.
    PINNACE_PATCH_TYPE_APPLY = 3,
} pinnace_patch_type_t;

// What a deletion does to the objects that the deleted one owns.
typedef enum {
    // What the kind does of itself.
    PINNACE_PROPAGATION_DEFAULT = 0,
    // They stay, without owner.
    PINNACE_PROPAGATION_ORPHAN = 1,
    // They go later.
    PINNACE_PROPAGATION_BACKGROUND = 2,
    // They go first.
    PINNACE_PROPAGATION_FOREGROUND = 3,
} pinnace_propagation_t;

// What becomes of pods when an engine ends.
typedef enum {
    // They are stopped, and everything of theirs is removed: the default in memory.
    PINNACE_ON_SHUTDOWN_STOP = 0,
    // They go on running; the next engine on the same data directory adopts them: the default on
    // disk.
    PINNACE_ON_SHUTDOWN_LEAVE = 1,
} pinnace_on_shutdown_t;

// What an admission callback says. Without anything said the write is allowed.
typedef struct pinnace_admission_answer_t pinnace_admission_answer_t;

// What an authentication callback says. Without anything said it cannot tell who somebody is.
typedef struct pinnace_authentication_answer_t pinnace_authentication_answer_t;

// What an authorization callback says. Without anything said it is not allowed.
typedef struct pinnace_authorization_answer_t pinnace_authorization_answer_t;

// How an engine is to be. Nothing is checked before `pinnace_engine_new`.
//
// Not for use by several threads at once.
typedef struct pinnace_config_t pinnace_config_t;

// A running controller.
typedef struct pinnace_controller_t pinnace_controller_t;

// A cluster in this process. Any number of threads may use it at once.
typedef struct pinnace_engine_t pinnace_engine_t;

// The nodes that a plugin is asked about, in arrays of the same length.
typedef struct pinnace_nodes_t pinnace_nodes_t;

// An error. Its accessors take NULL, and then give 0, false or NULL.
typedef struct pinnace_error_t pinnace_error_t;

// An engine that listens. It stops when it is told to, when it is deleted, and with the engine.
typedef struct pinnace_serving_t pinnace_serving_t;

// Events of a watch or lines of a log, to be taken one by one.
typedef struct pinnace_stream_t pinnace_stream_t;

// A watch whose events come by callback.
typedef struct pinnace_watch_t pinnace_watch_t;

// Text or JSON that the library has made. The bytes are followed by a NUL that `len` does not
// count. Zero-initialize it: `pinnace_bytes_t bytes = {0};`.
typedef struct {
    // The first byte, NULL when there are none.
    char *data;
    // How many there are.
    size_t len;
} pinnace_bytes_t;

// Which objects of a kind. Zero-initialize it and set `size` to `sizeof(pinnace_selection_t)`;
// strings are borrowed.
typedef struct {
    // Its own size.
    size_t size;
    // The namespace; NULL for all.
    const char *namespace_;
    // Labels, as `app=web,tier!=cache`; NULL for any.
    const char *labels;
    // Fields, as `spec.nodeName=a`; NULL for any.
    const char *fields;
} pinnace_selection_t;

// Where to listen. Zero-initialize it and set `size` to `sizeof(pinnace_serve_options_t)`; strings
// are borrowed.
typedef struct {
    // Its own size.
    size_t size;
    // An address for HTTPS such as `127.0.0.1:6443`; port 0 takes a free one. NULL for none.
    const char *address;
    // The path of a Unix socket, without TLS: the owner of this process and root may do everything
    // over it. NULL for none.
    const char *unix_path;
    // More names and addresses for the certificate.
    const char *const *names;
    // How many there are.
    size_t names_len;
} pinnace_serve_options_t;

// Which lines of a log. Zero-initialize it and set `size` to `sizeof(pinnace_log_options_t)`;
// strings are borrowed.
typedef struct {
    // Its own size.
    size_t size;
    // The container; may be NULL for a pod that has one.
    const char *container;
    // Only so many lines before the present end; 0 for all.
    uint64_t tail_lines;
    // Only lines that are not older than so many milliseconds; 0 for all.
    uint64_t since_ms;
    // End after so many bytes; 0 for all.
    uint64_t limit_bytes;
    // The log of the attempt before the last restart.
    bool previous;
    // Put the time before each line.
    bool timestamps;
} pinnace_log_options_t;

// Called for each event of a watch, one at a time, on a thread of the engine. `event` is JSON,
// `{"type": "ADDED", "object": {...}}`, followed by NUL, borrowed for the duration of the call.
// Returns whether the watch is to go on. The last call may tell of an error that has ended the
// watch: then `event` is NULL and `error` is not, borrowed for the duration of the call.
typedef bool (*pinnace_watch_callback_t)(void *user_data,
                                         const char *event,
                                         size_t event_len,
                                         const pinnace_error_t *error);

// Called once with the user data of a callback when no further call will come.
typedef void (*pinnace_finalizer_t)(void *user_data);

// How a controller runs. Zero-initialize it and set `size` to
// `sizeof(pinnace_controller_options_t)`; strings are borrowed.
typedef struct {
    // Its own size.
    size_t size;
    // A name for logs; the kind for NULL.
    const char *name;
    // Kinds whose objects make the controller look at the object that controls them.
    const char *const *owns;
    // How many kinds `owns` has.
    size_t owns_len;
    // How many objects are reconciled at once; 1 for 0.
    size_t workers;
} pinnace_controller_options_t;

// Called to reconcile one object, on a thread of the engine; never twice at once for the same
// object, and `workers` at a time for different ones. `namespace_` (empty for an object outside
// namespaces) and `name` are borrowed for the duration of the call. The object may be gone.
// Returns 0 when done until something changes, a positive number to be called again after so many
// milliseconds, a negative number when it has failed: then it is called again, later each time.
typedef int64_t (*pinnace_reconcile_callback_t)(void *user_data,
                                                const char *namespace_,
                                                const char *name);

// What an admission callback is asked about. Zero-initialize it and set `size` to
// `sizeof(pinnace_admission_options_t)`; strings are borrowed.
typedef struct {
    // Its own size.
    size_t size;
    // A name for messages; `admission` for NULL.
    const char *name;
    // Kinds by their plural names as webhooks give them: `pods`, `pods/status`. All objects, but no
    // parts of them, when there are none.
    const char *const *resources;
    // How many kinds `resources` has.
    size_t resources_len;
    // `CREATE`, `UPDATE`, `DELETE`, `CONNECT`; all when there are none.
    const char *const *operations;
    // How many `operations` has.
    size_t operations_len;
    // Whether it may change what is written.
    bool mutates;
} pinnace_admission_options_t;

// Called to ask about a write, on a thread of the engine; any number at a time. `request` is the
// `request` of an AdmissionReview as JSON, followed by NUL; it and `answer` are borrowed for the
// duration of the call. Says `pinnace_admission_refuse` or `pinnace_admission_change`, or nothing
// to allow the write.
typedef void (*pinnace_admission_callback_t)(void *user_data,
                                             const char *request,
                                             size_t request_len,
                                             pinnace_admission_answer_t *answer);

// Called to ask who somebody is, on a thread of the engine; any number at a time. `about` is JSON,
// followed by NUL: for a token the `spec` of a TokenReview, `{"token": "..."}`; for a request its
// `method`, `requestURI`, `headers` (lists by names in lower case) and `address`, the other end of
// the connection, or null. It and `answer` are borrowed for the duration of the call. Says
// `pinnace_authentication_accept` or `pinnace_authentication_refuse`, or nothing where it cannot
// tell; then others are asked. Where it says what cannot be, the request is refused.
typedef void (*pinnace_authentication_callback_t)(void *user_data,
                                                  const char *about,
                                                  size_t about_len,
                                                  pinnace_authentication_answer_t *answer);

// Called to ask whether somebody may do something, on a thread of the engine; any number at a time.
// `request` is the `spec` of a SubjectAccessReview as JSON, followed by NUL; it and `answer` are
// borrowed for the duration of the call. Says `pinnace_authorization_allow`, or nothing or
// `pinnace_authorization_refuse` where it does not allow it. Must not use the engine.
typedef void (*pinnace_authorization_callback_t)(void *user_data,
                                                 const char *request,
                                                 size_t request_len,
                                                 pinnace_authorization_answer_t *answer);

// Called for what becomes of a request, one event at a time, on a thread of its own, which requests
// do not wait for. `event` is an `Event` (`audit.k8s.io/v1`) as JSON, followed by NUL, borrowed for
// the duration of the call. Returns whether it is taken; one that is not is lost, which the log
// tells. Of events for which 10,000 are waiting already the newest is lost. What the callback itself
// does through the engine makes events, too, unless the policy leaves them out.
typedef bool (*pinnace_audit_callback_t)(void *user_data, const char *event, size_t event_len);

// What a plugin of the scheduler is like. Zero-initialize it and set `size` to
// `sizeof(pinnace_scheduler_plugin_options_t)`; strings are borrowed.
typedef struct {
    // Its own size.
    size_t size;
    // Its name, for configuration and messages; not NULL.
    const char *name;
    // By how much its scores count; 0 means 1.
    int64_t weight;
    // Why nodes are excluded, for the conditions of pods; a text with the name for NULL.
    const char *reason;
    // How long it may take, in milliseconds; 10 seconds for 0. Pods that need its word while it does
    // not answer get an error that names it.
    uint64_t timeout_ms;
} pinnace_scheduler_plugin_options_t;

// Called to judge the nodes that a pod may go to, one pod at a time, on a thread of its own. `pod` is
// JSON, followed by NUL; it, `nodes` and `scores` are borrowed for the duration of the call. `scores`
// has a place per node, 0 at first: 0 to 100, the more the better, or a negative number for a node that
// will not do. Returns whether it can tell; if not, the pod is tried again later.
typedef bool (*pinnace_judge_callback_t)(void *user_data,
                                         const char *pod,
                                         size_t pod_len,
                                         const pinnace_nodes_t *nodes,
                                         double *scores,
                                         size_t scores_len);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of the library, as `0.1.0`. Valid forever.
const char *pinnace_version(void);

// The number of the error, a `pinnace_code_t`; 0 for NULL.
int32_t pinnace_error_code(const pinnace_error_t *error);

// The HTTP status code that goes with the reason.
uint16_t pinnace_error_http_code(const pinnace_error_t *error);

// Why, by a name of the Kubernetes API such as `NotFound`. Belongs to the error.
const char *pinnace_error_reason(const pinnace_error_t *error);

// The message for people. Belongs to the error.
const char *pinnace_error_message(const pinnace_error_t *error);

// The object that it is about, as `deployments/web`; NULL when it is about none. Belongs to the
// error.
const char *pinnace_error_object(const pinnace_error_t *error);

// Whether the same call may succeed later without being changed.
bool pinnace_error_is_retryable(const pinnace_error_t *error);

// Frees an error. NULL is fine.
void pinnace_error_delete(pinnace_error_t *error);

// Frees the bytes and makes them empty, so that a second call does nothing. NULL is fine.
void pinnace_bytes_delete(pinnace_bytes_t *bytes);

// A configuration with everything as it is by default. Owned by the caller until it is given to
// `pinnace_engine_new`.
pinnace_config_t *pinnace_config_new(void);

// Frees a configuration that was not given to `pinnace_engine_new`. NULL is fine.
void pinnace_config_delete(pinnace_config_t *config);

// Sets what runs containers: `auto` (containerd where it answers, else `process`; the default),
// `containerd`, `containerd:///path/to/socket`, `process` or `simulated`. NULL is the default.
// `runtime` is borrowed.
void pinnace_config_set_runtime(pinnace_config_t *config, const char *runtime);

// Sets how many nodes there are: any number of simulated ones, or this machine as the one node of
// a real runtime. One by default; 0 makes a control plane without nodes.
void pinnace_config_set_nodes(pinnace_config_t *config, size_t nodes);

// Sets the name of this machine's node; its host name by default and for NULL. `name` is borrowed.
void pinnace_config_set_node_name(pinnace_config_t *config, const char *name);

// Sets a directory to keep objects in; it is made when needed, and one engine at a time may use
// it. In memory by default and for NULL. `directory` is borrowed.
void pinnace_config_set_data_dir(pinnace_config_t *config, const char *directory);

// Sets where CSI drivers register, by Unix sockets: a directory that is made when needed and that is
// for one engine, such as upstream's `/var/lib/kubelet/plugins_registry`. By default and for NULL it
// is `node/pods/plugins_registry` in the data directory. The path of a socket has 107 bytes at most.
// Simulated nodes have no drivers. `directory` is borrowed.
void pinnace_config_set_plugins_dir(pinnace_config_t *config,
                                    const char *directory);

// Sets what becomes of pods when the engine ends, a `pinnace_on_shutdown_t`.
void pinnace_config_set_on_shutdown(pinnace_config_t *config, int32_t what);

// Makes what is random in the engine repeatable.
void pinnace_config_set_seed(pinnace_config_t *config, uint64_t seed);

// Sets how the scheduler decides, by a `KubeSchedulerConfiguration` in YAML or JSON; upstream's
// defaults for NULL. `configuration` is borrowed.
void pinnace_config_set_scheduler(pinnace_config_t *config, const char *configuration);

// Has pods evicted that could be placed better, as a `DeschedulerPolicy` (`descheduler/v1alpha2`) in
// YAML or JSON says; with all strategies, every five minutes, for an empty one. Off by default and for
// NULL. `policy` is borrowed.
void pinnace_config_set_rebalancing(pinnace_config_t *config,
                                    const char *policy);

// Sets what rules of admission are told, by an `AdmissionConfiguration` in YAML or JSON:
// PodSecurity what is asked of pods, ResourceQuota what nobody uses without a quota. Nothing for
// NULL. `configuration` is borrowed.
void pinnace_config_set_admission_configuration(pinnace_config_t *config,
                                                const char *configuration);

// Leaves out a rule of admission, by the name of upstream's plug-in, such as `PodSecurity`. NULL
// leaves out none. `name` is borrowed.
void pinnace_config_disable_admission(pinnace_config_t *config, const char *name);

// Starts an engine, on threads of its own.
//
// `config` is taken, also on error; NULL is the default configuration. `*engine` is owned by the
// caller.
pinnace_error_t *pinnace_engine_new(pinnace_config_t *config, pinnace_engine_t **engine);

// Ends the engine in order: everything stops, and its threads are joined. Calls that other threads
// have under way end with `PINNACE_CODE_CLOSED`, as do later ones; the handle stays valid. A
// second call does nothing. Must not be called from a callback.
pinnace_error_t *pinnace_engine_shutdown(const pinnace_engine_t *engine);

// Ends the engine as `pinnace_engine_shutdown` does, unless that has been done, and frees the
// handle. NULL is fine. Must not be called from a callback. Streams, watches and controllers of
// the engine are ended too, but their handles stay valid until they are deleted.
void pinnace_engine_delete(pinnace_engine_t *engine);

// Which runtime runs the containers, and why that one was taken: `{"name": …, "why": …}`.
pinnace_error_t *pinnace_engine_runtime(const pinnace_engine_t *engine, pinnace_bytes_t *info);

// Waits until an object is as wanted: `condition` is the name of a condition of its status such
// as `Available`, `condition=Ready=False`, `create`, `delete`, or a field's value as
// `jsonpath={.status.phase}=Running`. `PINNACE_CODE_TIMEOUT` with what the object said of itself
// last, when that has not come within `timeout_ms` milliseconds.
//
// All strings are borrowed; `namespace_` may be NULL.
pinnace_error_t *pinnace_engine_wait(const pinnace_engine_t *engine,
                                     const char *object,
                                     const char *namespace_,
                                     const char *condition,
                                     uint64_t timeout_ms);

// Imports every image of an OCI archive or layout, so that pods can use it without a registry.
//
// `path` is borrowed. `names`, which may be NULL, gets a JSON list of the names under which pods
// may ask for the images.
pinnace_error_t *pinnace_engine_import_image(const pinnace_engine_t *engine,
                                             const char *path,
                                             pinnace_bytes_t *names);

// Makes the objects of a manifest, or changes those that exist to what it says. `manifest` is
// YAML with any number of documents, or JSON, of `manifest_len` bytes; it is borrowed. Objects
// without a namespace go to `default`.
//
// `applied`, which may be NULL, gets `[{"name": "deployment.apps/web", "change": "created",
// "object": {…}}, …]`; other changes are `configured` and `unchanged`. On error the objects before
// the one that was refused have been applied; if the manifest could not be read
// (`PINNACE_CODE_MANIFEST`), none.
pinnace_error_t *pinnace_engine_apply(const pinnace_engine_t *engine,
                                      const char *manifest,
                                      size_t manifest_len,
                                      pinnace_bytes_t *applied);

// Deletes the objects that a manifest names, in the opposite order; those that are gone already
// are passed over. `manifest` is borrowed.
pinnace_error_t *pinnace_engine_delete_manifest(const pinnace_engine_t *engine,
                                                const char *manifest,
                                                size_t manifest_len);

// Reads an object. Strings are borrowed; `namespace_` may be NULL.
pinnace_error_t *pinnace_engine_get(const pinnace_engine_t *engine,
                                    const char *object,
                                    const char *namespace_,
                                    pinnace_bytes_t *json);

// Lists the objects of a kind as a JSON list, by namespace and name. Strings are borrowed;
// `namespace_` is NULL for all namespaces, `labels` (`app=web,tier!=cache`) NULL for any.
pinnace_error_t *pinnace_engine_list(const pinnace_engine_t *engine,
                                     const char *kind,
                                     const char *namespace_,
                                     const char *labels,
                                     pinnace_bytes_t *json);

// As `pinnace_engine_list`, with all that a selection can say; NULL selects everything.
pinnace_error_t *pinnace_engine_list_with(const pinnace_engine_t *engine,
                                          const char *kind,
                                          const pinnace_selection_t *selection,
                                          pinnace_bytes_t *json);

// Creates an object from JSON, which is borrowed. `created`, which may be NULL, gets the object as
// it was stored.
pinnace_error_t *pinnace_engine_create(const pinnace_engine_t *engine,
                                       const char *json,
                                       size_t json_len,
                                       const char *namespace_,
                                       pinnace_bytes_t *created);

// Replaces an object by JSON, which is borrowed: `PINNACE_CODE_CONFLICT` when the object has
// changed since it was read. `updated`, which may be NULL, gets the object as it was stored.
pinnace_error_t *pinnace_engine_update(const pinnace_engine_t *engine,
                                       const char *json,
                                       size_t json_len,
                                       const char *namespace_,
                                       pinnace_bytes_t *updated);

// Replaces the status of an object by that of a JSON document, which is borrowed; the spec stays as
// it is. `updated`, which may be NULL, gets the object as it was stored.
pinnace_error_t *pinnace_engine_update_status(const pinnace_engine_t *engine,
                                              const char *json,
                                              size_t json_len,
                                              const char *namespace_,
                                              pinnace_bytes_t *updated);

// Changes an object by a JSON document that `type` (a `pinnace_patch_type_t`) says how to read.
// Strings are borrowed; `namespace_` may be NULL. `patched`, which may be NULL, gets the object
// as it was stored.
pinnace_error_t *pinnace_engine_patch(const pinnace_engine_t *engine,
                                      const char *object,
                                      const char *namespace_,
                                      int32_t type,
                                      const char *patch,
                                      size_t patch_len,
                                      pinnace_bytes_t *patched);

// Deletes an object. It may stay until its finalizers and its grace period allow it to go:
// `pinnace_engine_wait` for `delete` waits for that. Strings are borrowed; `namespace_` may be
// NULL. `propagation` is a `pinnace_propagation_t`; a negative `grace_period_seconds` is the
// object's own.
pinnace_error_t *pinnace_engine_delete_object(const pinnace_engine_t *engine,
                                              const char *object,
                                              const char *namespace_,
                                              int32_t propagation,
                                              int64_t grace_period_seconds);

// Sets how many replicas there should be. Strings are borrowed; `namespace_` may be NULL.
pinnace_error_t *pinnace_engine_scale(const pinnace_engine_t *engine,
                                      const char *object,
                                      const char *namespace_,
                                      int32_t replicas);

// How far the rollout of a Deployment is: `{"done": true, "message": …}`, the message being what
// `kubectl rollout status` prints. Strings are borrowed; `namespace_` may be NULL.
pinnace_error_t *pinnace_engine_rollout_status(const pinnace_engine_t *engine,
                                               const char *deployment,
                                               const char *namespace_,
                                               pinnace_bytes_t *status);

// Goes back to a revision of a Deployment, or to the one before if `revision` is 0. Strings are
// borrowed; `namespace_` may be NULL.
pinnace_error_t *pinnace_engine_rollout_undo(const pinnace_engine_t *engine,
                                             const char *deployment,
                                             const char *namespace_,
                                             int64_t revision);

// Replaces all pods of a Deployment by its strategy. Strings are borrowed; `namespace_` may be
// NULL.
pinnace_error_t *pinnace_engine_rollout_restart(const pinnace_engine_t *engine,
                                                const char *deployment,
                                                const char *namespace_);

// Lets changes of a Deployment wait (`paused`), or go on. Strings are borrowed; `namespace_` may
// be NULL.
pinnace_error_t *pinnace_engine_rollout_pause(const pinnace_engine_t *engine,
                                              const char *deployment,
                                              const char *namespace_,
                                              bool paused);

// Why a pod is where it is, or nowhere: a document with the nodes that it may go to and their
// scores (`fitting`, the best first), those that it may not go to and what every plugin has
// against them (`excluded`), what the pod's condition says (`message`), and what would have to
// change (`relaxations`, the cheapest first). Strings are borrowed; `namespace_` may be NULL.
pinnace_error_t *pinnace_engine_explain(const pinnace_engine_t *engine,
                                        const char *pod,
                                        const char *namespace_,
                                        pinnace_bytes_t *explanation);

// As `pinnace_engine_explain`, for a pod that need not exist: what would become of it. `pod` is
// JSON; `namespace_` is for one that names none. Everything is borrowed.
pinnace_error_t *pinnace_engine_explain_what_if(const pinnace_engine_t *engine,
                                                const char *pod,
                                                size_t pod_len,
                                                const char *namespace_,
                                                pinnace_bytes_t *explanation);

// Serves the API as Kubernetes does, for kubectl and every other client. Nothing listens before
// this is called. Everything is borrowed; `*serving` is owned by the caller.
pinnace_error_t *pinnace_engine_serve(const pinnace_engine_t *engine,
                                      const pinnace_serve_options_t *options,
                                      pinnace_serving_t **serving);

// The URL of the API for clients on this machine, with the port that it became; NULL when only a
// Unix socket is served.
const char *pinnace_serving_url(const pinnace_serving_t *serving);

// The certificate of the authority that clients have to trust, in PEM.
const char *pinnace_serving_ca(const pinnace_serving_t *serving);

// Stops listening in order: watches end, requests in flight get ten seconds to finish. A second
// call does nothing. With the engine it has stopped already: `PINNACE_CODE_CLOSED`.
pinnace_error_t *pinnace_serving_stop(const pinnace_serving_t *serving,
                                      const pinnace_engine_t *engine);

// Stops listening at once, unless that has been done, and frees the handle. NULL is fine.
void pinnace_serving_delete(pinnace_serving_t *serving);

// A kubeconfig for what the engine serves, with a key and a certificate that make its holder
// `user`, a member of `groups`, for a year; the group `system:masters` may do everything. An error
// when nothing serves HTTPS. Everything is borrowed.
pinnace_error_t *pinnace_engine_kubeconfig(const pinnace_engine_t *engine,
                                           const char *user,
                                           const char *const *groups,
                                           size_t groups_len,
                                           pinnace_bytes_t *kubeconfig);

// Watches the objects of a kind: first what is there, as added, then what happens. Each item of
// the stream is JSON: `{"type": "ADDED", "object": {…}}`; other types are `MODIFIED` and
// `DELETED`.
//
// `kind` and `selection` are borrowed; a NULL `selection` selects everything. `*stream` is owned by
// the caller.
pinnace_error_t *pinnace_engine_watch(const pinnace_engine_t *engine,
                                      const char *kind,
                                      const pinnace_selection_t *selection,
                                      pinnace_stream_t **stream);

// The log of a container of a pod, up to now. Everything is borrowed; `namespace_` and `options`
// may be NULL.
pinnace_error_t *pinnace_engine_logs(const pinnace_engine_t *engine,
                                     const char *pod,
                                     const char *namespace_,
                                     const pinnace_log_options_t *options,
                                     pinnace_bytes_t *log);

// As `pinnace_engine_logs`, but goes on until the container ends: each item of the stream is a
// line, with its newline. `*stream` is owned by the caller.
pinnace_error_t *pinnace_engine_follow_logs(const pinnace_engine_t *engine,
                                            const char *pod,
                                            const char *namespace_,
                                            const pinnace_log_options_t *options,
                                            pinnace_stream_t **stream);

// Takes the next item of a stream, and waits for it at most `timeout_ms` milliseconds
// (`UINT64_MAX` for as long as it takes, 0 not at all). When none has come, this succeeds and
// `item->data` is NULL; else the item is the caller's to delete. At the end of the stream
// `PINNACE_CODE_CLOSED`; an error that has ended it comes before that.
pinnace_error_t *pinnace_stream_next(const pinnace_stream_t *stream,
                                     uint64_t timeout_ms,
                                     pinnace_bytes_t *item);

// A descriptor that is readable while the stream has an item or has ended, for `poll` and event
// loops; -1 for NULL. It belongs to the stream: neither read nor close it.
int32_t pinnace_stream_fd(const pinnace_stream_t *stream);

// Ends a stream, also for a thread that waits for its next item. NULL is fine.
void pinnace_stream_stop(const pinnace_stream_t *stream);

// Ends and frees a stream. NULL is fine.
void pinnace_stream_delete(pinnace_stream_t *stream);

// Watches the objects of a kind as `pinnace_engine_watch` does, and calls `callback` for each
// event, on a thread of the engine, until it returns false, the watch is deleted or the engine
// ends.
//
// `kind` and `selection` are borrowed; a NULL `selection` selects everything. `user_data` stays
// borrowed until `finalizer` is called. `*watch` is owned by the caller.
pinnace_error_t *pinnace_engine_watch_with(const pinnace_engine_t *engine,
                                           const char *kind,
                                           const pinnace_selection_t *selection,
                                           pinnace_watch_callback_t callback,
                                           void *user_data,
                                           pinnace_finalizer_t finalizer,
                                           pinnace_watch_t **watch);

// Ends and frees a watch. No call is under way and the finalizer has been called when this
// returns, unless it is called from within a callback. NULL is fine.
void pinnace_watch_delete(pinnace_watch_t *watch);

// Has `reconcile` called for every object of a kind, in all namespaces, when it or an object that
// it controls has changed, until the engine ends.
//
// `kind` and `options` are borrowed; `options` may be NULL. `user_data` stays borrowed until
// `finalizer` is called, which is when the engine ends. `*controller` is owned by the caller;
// `controller` may be NULL.
pinnace_error_t *pinnace_engine_controller(const pinnace_engine_t *engine,
                                           const char *kind,
                                           const pinnace_controller_options_t *options,
                                           pinnace_reconcile_callback_t reconcile,
                                           void *user_data,
                                           pinnace_finalizer_t finalizer,
                                           pinnace_controller_t **controller);

// Has an object reconciled, whether or not anything has changed. Strings are borrowed;
// `namespace_` is NULL or empty for an object outside namespaces.
pinnace_error_t *pinnace_controller_enqueue(const pinnace_controller_t *controller,
                                            const char *namespace_,
                                            const char *name);

// Frees the handle; the controller runs on until the engine ends. NULL is fine.
void pinnace_controller_delete(pinnace_controller_t *controller);

// Has a write refused. `why` is borrowed.
void pinnace_admission_refuse(pinnace_admission_answer_t *answer, const char *why);

// Has another object written: `object` is JSON, and borrowed. Only for a callback that mutates.
void pinnace_admission_change(pinnace_admission_answer_t *answer, const char *object);

// Has `callback` asked about what is written, by whomever, before it is. Writes wait for it: name
// the kinds that it is about.
//
// `options` is borrowed and may be NULL. `user_data` stays borrowed until `finalizer` is called,
// which is when the engine ends or the configuration is freed.
void pinnace_config_add_admission(pinnace_config_t *config,
                                  const pinnace_admission_options_t *options,
                                  pinnace_admission_callback_t callback,
                                  void *user_data,
                                  pinnace_finalizer_t finalizer);

// Says who it is: `user` is a `UserInfo` (`authentication.k8s.io/v1`) as JSON, `username` and where
// there are any `uid`, `groups` and `extra`. It is borrowed.
void pinnace_authentication_accept(pinnace_authentication_answer_t *answer, const char *user);

// Says that it is not who it claims to be, and why. `why` is borrowed; callers are not told.
void pinnace_authentication_refuse(pinnace_authentication_answer_t *answer, const char *why);

// Has `callback` asked whose a bearer token is that is none of the cluster's own, over HTTPS and by a
// `TokenReview`: with each request, which waits for it. A name for messages is `name`,
// `authenticator` for NULL; it is borrowed.
//
// `user_data` stays borrowed until `finalizer` is called, which is when the engine ends or the
// configuration is freed.
void pinnace_config_add_token_authenticator(pinnace_config_t *config,
                                            const char *name,
                                            pinnace_authentication_callback_t callback,
                                            void *user_data,
                                            pinnace_finalizer_t finalizer);

// As `pinnace_config_add_token_authenticator`, for whatever a request over HTTPS brings: `callback`
// is asked who makes it when neither a certificate nor a token says that.
void pinnace_config_add_authenticator(pinnace_config_t *config,
                                      const char *name,
                                      pinnace_authentication_callback_t callback,
                                      void *user_data,
                                      pinnace_finalizer_t finalizer);

// Allows what is asked about.
void pinnace_authorization_allow(pinnace_authorization_answer_t *answer);

// Does not allow it, and says why. `why` is borrowed.
void pinnace_authorization_refuse(pinnace_authorization_answer_t *answer, const char *why);

// Has `callback` asked who may do what, when neither the node authorizer nor RBAC allows it. Requests
// wait for it. A name for messages is `name`, `authorizer` for NULL; it is borrowed.
//
// `user_data` stays borrowed until `finalizer` is called, which is when the engine ends or the
// configuration is freed.
void pinnace_config_add_authorizer(pinnace_config_t *config,
                                   const char *name,
                                   pinnace_authorization_callback_t callback,
                                   void *user_data,
                                   pinnace_finalizer_t finalizer);

// Has `callback` told what becomes of requests and calls, as far as `policy` says: a `Policy`
// (`audit.k8s.io/v1`) in YAML or JSON, which is borrowed. Takes the place of a callback that was set
// before. What could be told is told when `pinnace_engine_shutdown` is done.
//
// `user_data` stays borrowed until `finalizer` is called, which is when the engine ends or the
// configuration is freed.
void pinnace_config_set_audit(pinnace_config_t *config,
                              const char *policy,
                              pinnace_audit_callback_t callback,
                              void *user_data,
                              pinnace_finalizer_t finalizer);

// How many nodes there are.
size_t pinnace_nodes_len(const pinnace_nodes_t *nodes);

// The name of a node; NULL beyond the last. Valid during the callback.
const char *pinnace_nodes_name(const pinnace_nodes_t *nodes, size_t node);

// The value of a label of a node; NULL where it has none. `key` is borrowed; the value is valid during
// the callback.
const char *pinnace_nodes_label(const pinnace_nodes_t *nodes,
                                size_t node,
                                const char *key);

// What each node has of a resource: an array with a number per node, in thousandths of a core for
// `cpu`, else in bytes or pieces; NULL when no node has it. Valid during the callback. `resource` is
// borrowed.
const int64_t *pinnace_nodes_allocatable(const pinnace_nodes_t *nodes,
                                         const char *resource);

// What the pods of each node ask of a resource, as `pinnace_nodes_allocatable`.
const int64_t *pinnace_nodes_requested(const pinnace_nodes_t *nodes, const char *resource);

// Adds a plugin to all profiles of the scheduler: `callback` excludes and ranks nodes, one call for all
// nodes of a pod.
//
// `options` is borrowed. `user_data` stays borrowed until `finalizer` is called, which is when the
// engine ends or the configuration is freed.
void pinnace_config_add_scheduler_plugin(pinnace_config_t *config,
                                         const pinnace_scheduler_plugin_options_t *options,
                                         pinnace_judge_callback_t callback,
                                         void *user_data,
                                         pinnace_finalizer_t finalizer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* PINNACE_H */
