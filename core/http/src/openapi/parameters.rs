use serde_json::{Map, Value, json};

/// A parameter of a request in its query or path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    ty: &'static str,
    in_path: bool,
    description: &'static str,
}

const fn query(name: &'static str, ty: &'static str, description: &'static str) -> Parameter {
    Parameter { name, ty, in_path: false, description }
}

const fn path(name: &'static str, description: &'static str) -> Parameter {
    Parameter { name, ty: "string", in_path: true, description }
}

impl Parameter {
    /// As OpenAPI v2 has it.
    pub(super) fn v2(self) -> Value {
        let mut value = self.common();
        value.insert("type".to_owned(), self.ty.into());
        value.insert("uniqueItems".to_owned(), true.into());
        value.into()
    }

    /// As OpenAPI v3 has it.
    pub(super) fn v3(self) -> Value {
        let mut value = self.common();
        value.insert("schema".to_owned(), json!({"type": self.ty, "uniqueItems": true}));
        value.into()
    }

    fn common(self) -> Map<String, Value> {
        let mut value = Map::new();
        value.insert("name".to_owned(), self.name.into());
        value.insert("in".to_owned(), if self.in_path { "path" } else { "query" }.into());
        value.insert("description".to_owned(), self.description.into());
        if self.in_path {
            value.insert("required".to_owned(), true.into());
        }
        value
    }
}

pub(super) const NAME: Parameter = path("name", "The name of the object.");
pub(super) const NAMESPACE: Parameter =
    path("namespace", "The namespace of the object or objects, for teams and projects.");
pub(super) const REST: Parameter = path("path", "A path on the other side of the proxy.");
pub(super) const PRETTY: Parameter =
    query("pretty", "string", "If 'true', the answer is indented for people to read.");

const CONTINUE: Parameter = query(
    "continue",
    "string",
    "The token that an earlier part of a list has given: the list goes on behind it.",
);
const DRY_RUN: Parameter = query(
    "dryRun",
    "string",
    "With 'All', everything is checked and nothing is kept. No other value is valid.",
);
const FIELD_MANAGER: Parameter = query(
    "fieldManager",
    "string",
    "In whose name fields are changed: at most 128 printable characters. Applying needs it.",
);
const FIELD_SELECTOR: Parameter =
    query("fieldSelector", "string", "Only objects with fields of these values.");
const FIELD_VALIDATION: Parameter = query(
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: 'Ignore' drops them, 'Warn' tells of them, and \
     'Strict' refuses the object.",
);
const LABEL_SELECTOR: Parameter =
    query("labelSelector", "string", "Only objects with labels that this selects.");
const LIMIT: Parameter =
    query("limit", "integer", "How many objects there are at most in one part of a list.");
const RESOURCE_VERSION: Parameter = query(
    "resourceVersion",
    "string",
    "The state that is read: not before this version, or as resourceVersionMatch says.",
);
const RESOURCE_VERSION_MATCH: Parameter = query(
    "resourceVersionMatch",
    "string",
    "How resourceVersion is meant in a list: 'Exact' or 'NotOlderThan'.",
);
const SEND_INITIAL_EVENTS: Parameter = query(
    "sendInitialEvents",
    "boolean",
    "Whether a watch begins with the objects that there are, and a bookmark behind them.",
);
const TIMEOUT_SECONDS: Parameter =
    query("timeoutSeconds", "integer", "After how many seconds the call ends, if it still lasts.");
const GRACE_PERIOD_SECONDS: Parameter = query(
    "gracePeriodSeconds",
    "integer",
    "How many seconds the object has to end; zero deletes it at once.",
);
const IGNORE_READ_ERROR: Parameter = query(
    "ignoreStoreReadErrorWithClusterBreakingPotential",
    "boolean",
    "Deletes an object that cannot be read any more, with everything that may break.",
);
const ORPHAN_DEPENDENTS: Parameter = query(
    "orphanDependents",
    "boolean",
    "Whether dependents lose their owner and stay. Deprecated: use propagationPolicy.",
);
const PROPAGATION_POLICY: Parameter = query(
    "propagationPolicy",
    "string",
    "What becomes of dependents: 'Orphan', 'Background' or 'Foreground'.",
);
const CONTAINER: Parameter =
    query("container", "string", "Which container; needed when the pod has several.");
const STDIN: Parameter = query("stdin", "boolean", "Whether its input is connected.");
const STDOUT: Parameter = query("stdout", "boolean", "Whether its output is connected.");
const STDERR: Parameter = query("stderr", "boolean", "Whether its error output is connected.");
const TTY: Parameter = query("tty", "boolean", "Whether it has a terminal.");

pub(super) const LIST: &[Parameter] = &[
    query("allowWatchBookmarks", "boolean", "Whether a watch may send bookmarks."),
    CONTINUE,
    FIELD_SELECTOR,
    LABEL_SELECTOR,
    LIMIT,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT_SECONDS,
    query("watch", "boolean", "Whether changes are told from here on, instead of a list."),
];
pub(super) const DELETE_COLLECTION: &[Parameter] = &[
    CONTINUE,
    DRY_RUN,
    FIELD_SELECTOR,
    GRACE_PERIOD_SECONDS,
    IGNORE_READ_ERROR,
    LABEL_SELECTOR,
    LIMIT,
    ORPHAN_DEPENDENTS,
    PROPAGATION_POLICY,
    RESOURCE_VERSION,
    RESOURCE_VERSION_MATCH,
    SEND_INITIAL_EVENTS,
    TIMEOUT_SECONDS,
];
pub(super) const DELETE: &[Parameter] =
    &[DRY_RUN, GRACE_PERIOD_SECONDS, IGNORE_READ_ERROR, ORPHAN_DEPENDENTS, PROPAGATION_POLICY];
pub(super) const WRITE: &[Parameter] = &[DRY_RUN, FIELD_MANAGER, FIELD_VALIDATION];
pub(super) const PATCH: &[Parameter] = &[
    DRY_RUN,
    FIELD_MANAGER,
    FIELD_VALIDATION,
    query("force", "boolean", "Whether applying takes fields over from others."),
];

/// The parameters of a connection.
pub(super) fn of_connection(part: &str) -> &'static [Parameter] {
    match part {
        "log" => LOG,
        "exec" => EXEC,
        "attach" => ATTACH,
        "portforward" => PORTS,
        "proxy" => PROXY,
        _ => &[],
    }
}

const PORTS: &[Parameter] =
    &[query("ports", "integer", "Which ports are forwarded; only over a WebSocket.")];
const PROXY: &[Parameter] =
    &[query("path", "string", "The path on the other side, with its parameters.")];
const ATTACH: &[Parameter] = &[CONTAINER, STDERR, STDIN, STDOUT, TTY];
const EXEC: &[Parameter] = &[
    query("command", "string", "The command, an argument each time; no shell reads it."),
    CONTAINER,
    STDERR,
    STDIN,
    STDOUT,
    TTY,
];
const LOG: &[Parameter] = &[
    CONTAINER,
    query("follow", "boolean", "Whether new lines are sent as they come."),
    query("insecureSkipTLSVerifyBackend", "boolean", "Whether the node need not prove who it is."),
    query("limitBytes", "integer", "After how many bytes the log ends."),
    query("previous", "boolean", "Whether it is the log of the attempt before."),
    query("sinceSeconds", "integer", "Only lines that are younger than so many seconds."),
    query("stream", "string", "Which stream: 'All', 'Stdout' or 'Stderr'."),
    query("tailLines", "integer", "How many lines before the end are sent."),
    query("timestamps", "boolean", "Whether each line begins with its time."),
];
