use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Lifecycle, LifecycleHandler, Probe,
    SleepAction, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::Context;
use crate::field::{ErrorList, Path};
use crate::kinds::check::{complain, non_negative, port, text};
use crate::kinds::names::rules;

/// The signals that may stop a container on Linux, without the real-time ones.
const SIGNALS: [&str; 35] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGRTMIN",
];

/// Checks probes and lifecycle of a container that runs on.
pub(super) fn validate(
    container: &Container,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    if let Some(lifecycle) = &container.lifecycle {
        validate_lifecycle(lifecycle, context, &path.child("lifecycle"), errors);
    }
    if let Some(probe) = &container.liveness_probe {
        let path = path.child("livenessProbe");
        validate_probe(probe, &path, errors);
        once(probe, &path, errors);
    }
    if let Some(probe) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        validate_probe(probe, &path, errors);
        if let Some(seconds) = probe.termination_grace_period_seconds {
            let at = path.child("terminationGracePeriodSeconds");
            errors.invalid(&at, seconds, "must not be set for readinessProbes");
        }
    }
    if let Some(probe) = &container.startup_probe {
        let path = path.child("startupProbe");
        validate_probe(probe, &path, errors);
        once(probe, &path, errors);
    }
}

fn once(probe: &Probe, path: &Path<'_>, errors: &mut ErrorList) {
    let threshold = probe.success_threshold.unwrap_or(0);
    if threshold != 1 {
        errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
    }
}

fn validate_probe(probe: &Probe, path: &Path<'_>, errors: &mut ErrorList) {
    let handler = Handler {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler.validate(None, path, errors);
    let numbers = [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ];
    for (field, number) in numbers {
        non_negative(errors, &path.child(field), number.unwrap_or(0));
    }
    if let Some(seconds) = probe.termination_grace_period_seconds
        && seconds <= 0
    {
        let at = path.child("terminationGracePeriodSeconds");
        errors.invalid(&at, seconds, "must be greater than 0");
    }
}

fn validate_lifecycle(
    lifecycle: &Lifecycle,
    context: &Context<'_>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let handlers = [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)];
    for (field, handler) in handlers {
        let Some(LifecycleHandler { exec, http_get, tcp_socket, sleep }) = handler else {
            continue;
        };
        let handler = Handler {
            exec: exec.as_ref(),
            http_get: http_get.as_ref(),
            tcp_socket: tcp_socket.as_ref(),
            grpc: None,
            sleep: sleep.as_ref(),
        };
        handler.validate(context.grace_period, &path.child(field), errors);
    }
    if let Some(signal) = &lifecycle.stop_signal {
        validate_stop_signal(signal, context.os, &path.child("stopSignal"), errors);
    }
}

fn validate_stop_signal(signal: &str, os: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match os {
        "" => {
            let why = "may not be set for containers with empty `spec.os.name`";
            errors.forbidden(path, why);
        }
        "windows" if !matches!(signal, "SIGKILL" | "SIGTERM") => {
            errors.not_supported(path, signal, &["SIGKILL", "SIGTERM"]);
        }
        "windows" => {}
        _ if SIGNALS.contains(&signal) || is_real_time(signal) => {}
        _ => errors.not_supported(path, signal, &SIGNALS),
    }
}

/// `SIGRTMIN+1` to `SIGRTMIN+15`, `SIGRTMAX-14` to `SIGRTMAX`.
fn is_real_time(signal: &str) -> bool {
    let offset = |rest: &str, most| {
        rest.parse::<u8>()
            .is_ok_and(|offset| (1..=most).contains(&offset) && !rest.starts_with(['0', '+']))
    };
    signal == "SIGRTMAX"
        || signal.strip_prefix("SIGRTMIN+").is_some_and(|rest| offset(rest, 15))
        || signal.strip_prefix("SIGRTMAX-").is_some_and(|rest| offset(rest, 14))
}

/// What a probe or a lifecycle hook does.
struct Handler<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

impl Handler<'_> {
    fn validate(&self, grace_period: Option<i64>, path: &Path<'_>, errors: &mut ErrorList) {
        let mut found = false;
        let mut first = |field: &str, errors: &mut ErrorList| {
            if found {
                errors.forbidden(&path.child(field), "may not specify more than 1 handler type");
            }
            !std::mem::replace(&mut found, true)
        };
        if let Some(exec) = self.exec
            && first("exec", errors)
            && exec.command.iter().flatten().next().is_none()
        {
            errors.required(&path.child("exec").child("command"), "");
        }
        if let Some(get) = self.http_get
            && first("httpGet", errors)
        {
            validate_http_get(get, &path.child("httpGet"), errors);
        }
        if let Some(socket) = self.tcp_socket
            && first("tcpSocket", errors)
        {
            port(errors, &path.child("tcpSocket").child("port"), &socket.port);
        }
        if let Some(grpc) = self.grpc
            && first("grpc", errors)
        {
            let number = IntOrString::Int(grpc.port);
            port(errors, &path.child("grpc").child("port"), &number);
        }
        if let Some(sleep) = self.sleep
            && first("sleep", errors)
        {
            validate_sleep(sleep, grace_period, &path.child("sleep"), errors);
        }
        if !found {
            errors.required(path, "must specify a handler type");
        }
    }
}

fn validate_http_get(get: &HTTPGetAction, path: &Path<'_>, errors: &mut ErrorList) {
    if text(&get.path).is_empty() {
        errors.required(&path.child("path"), "");
    }
    port(errors, &path.child("port"), &get.port);
    let scheme = text(&get.scheme);
    if !matches!(scheme, "HTTP" | "HTTPS") {
        errors.not_supported(&path.child("scheme"), scheme, &["HTTP", "HTTPS"]);
    }
    for header in get.http_headers.iter().flatten() {
        let name = &header.name;
        complain(errors, &path.child("httpHeaders"), name, rules::header_name(name));
    }
}

fn validate_sleep(
    sleep: &SleepAction,
    grace_period: Option<i64>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    // Without a grace period that is what is wrong, and said elsewhere.
    if let Some(period) = grace_period
        && !(0..=period).contains(&sleep.seconds)
    {
        let why =
            format!("must be non-negative and less than terminationGracePeriodSeconds ({period})");
        errors.invalid(path, sleep.seconds, &why);
    }
}
