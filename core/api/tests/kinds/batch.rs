use serde_json::{Value, json};

use crate::support::{check, check_status, check_update, defaulted, with};

fn job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "sum", "namespace": "default", "uid": "u-1"},
        "spec": {"template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "sum"}]
        }}}
    })
}

fn cron_job() -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "CronJob",
        "metadata": {"name": "nightly", "namespace": "default"},
        "spec": {"schedule": "0 3 * * *", "jobTemplate": {"spec": job()["spec"].clone()}}
    })
}

#[test]
fn a_job_selects_its_own_pods() {
    let mut draft = defaulted("jobs.batch", job());
    let resource = crate::support::resource("jobs.batch");
    resource.strategy.prepare_for_create(&mut draft);
    let value = draft.to_value().unwrap();
    let spec = &value["spec"];
    assert_eq!(
        spec["selector"],
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}})
    );
    assert_eq!(
        spec["template"]["metadata"]["labels"],
        json!({
            "batch.kubernetes.io/controller-uid": "u-1", "controller-uid": "u-1",
            "batch.kubernetes.io/job-name": "sum", "job-name": "sum",
        })
    );
    for (field, expected) in [
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        assert_eq!(spec[field], expected, "{field}");
    }
}

#[test]
fn jobs_are_checked() {
    let rule = |rule: Value| json!({"rules": [rule]});
    let cases: &[(&str, Value, &[&str])] = &[
        ("parallelism", json!(2), &[]),
        (
            "parallelism",
            json!(-1),
            &["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            "completionMode",
            json!("Sorted"),
            &[
                "spec.completionMode: Unsupported value: \"Sorted\": supported values: \"NonIndexed\", \"Indexed\"",
            ],
        ),
        (
            "backoffLimitPerIndex",
            json!(1),
            &["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
        (
            "template/spec/restartPolicy",
            json!("Always"),
            &[
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ],
        ),
        (
            "podFailurePolicy",
            rule(json!({"action": "FailJob", "onExitCodes": {"operator": "In", "values": [0]}})),
            &[
                "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
            ],
        ),
        (
            "podFailurePolicy",
            rule(json!({"action": "Stop", "onPodConditions": [{"type": "Ready"}]})),
            &[
                "spec.podFailurePolicy.rules[0].action: Unsupported value: \"Stop\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
            ],
        ),
        (
            "podFailurePolicy",
            rule(json!({"action": "FailJob"})),
            &[
                "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
            ],
        ),
        (
            "managedBy",
            json!("Me.io/a b"),
            &[
                "spec.managedBy: Invalid value: \"Me.io\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
                "spec.managedBy: Invalid value: \"a b\": Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')",
            ],
        ),
        (
            "managedBy",
            json!("me"),
            &[
                "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ],
        ),
    ];
    for (field, value, expected) in cases {
        check("jobs.batch", with(job(), &format!("/spec/{field}"), value.clone()), expected);
    }
}

#[test]
fn what_a_job_runs_does_not_change() {
    let suspended = with(job(), "/spec/suspend", json!(true));
    let moved = |job| with(job, "/spec/template/spec/nodeSelector", json!({"disk": "fast"}));
    // A Job that waits may still be told where to run.
    let (errors, _) = crate::support::update("jobs.batch", suspended.clone(), moved(suspended));
    let texts = crate::support::texts(&errors);
    assert!(!texts.iter().any(|text| text.starts_with("spec.template:")), "{texts:?}");
    let (errors, _) = crate::support::update("jobs.batch", job(), moved(job()));
    let texts = crate::support::texts(&errors);
    assert!(
        texts
            .iter()
            .any(|text| text.starts_with("spec.template:") && text.ends_with("field is immutable")),
        "{texts:?}"
    );
}

#[test]
fn cron_jobs_are_checked() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("schedule", json!("@hourly"), &[]),
        (
            "schedule",
            json!("61 * * * *"),
            &[
                "spec.schedule: Invalid value: \"61 * * * *\": end of range (61) above maximum (59): 61",
            ],
        ),
        (
            "schedule",
            json!("TZ=UTC 0 * * * *"),
            &[
                "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ],
        ),
        ("timeZone", json!("Europe/Berlin"), &[]),
        (
            "timeZone",
            json!("Moon/Sea"),
            &["spec.timeZone: Invalid value: \"Moon/Sea\": unknown time zone Moon/Sea"],
        ),
        (
            "timeZone",
            json!("../etc"),
            &["spec.timeZone: Invalid value: \"../etc\": unknown time zone ../etc"],
        ),
        (
            "timeZone",
            json!(""),
            &["spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string"],
        ),
        (
            "concurrencyPolicy",
            json!("Maybe"),
            &[
                "spec.concurrencyPolicy: Unsupported value: \"Maybe\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ],
        ),
    ];
    for (field, value, expected) in cases {
        check(
            "cronjobs.batch",
            with(cron_job(), &format!("/spec/{field}"), value.clone()),
            expected,
        );
    }
    let long = "n".repeat(53);
    let text =
        format!("metadata.name: Invalid value: {long:?}: must be no more than 52 characters");
    check("cronjobs.batch", with(cron_job(), "/metadata/name", json!(long)), &[&text]);
    check_update("cronjobs.batch", cron_job(), with(cron_job(), "/spec/suspend", json!(true)), &[]);
}

#[test]
fn budgets_are_checked() {
    let budget = |spec: Value| {
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
               "metadata": {"name": "b", "namespace": "default"}, "spec": spec})
    };
    let name = "poddisruptionbudgets.policy";
    check(name, budget(json!({"minAvailable": "50%", "selector": {}})), &[]);
    check(
        name,
        budget(json!({"maxUnavailable": "101%"})),
        &["spec.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"],
    );
    check(
        name,
        budget(json!({"minAvailable": 1, "maxUnavailable": 1})),
        &[
            "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
        ],
    );
}

#[test]
fn the_template_of_a_cron_job_keeps_what_it_says() {
    let said = json!({"completions": 1, "parallelism": 1, "backoffLimit": 6, "suspend": false});
    let mut job = cron_job();
    for (field, value) in said.as_object().unwrap() {
        job = with(job, &format!("/spec/jobTemplate/spec/{field}"), value.clone());
    }
    let value = defaulted("cronjobs.batch", job).to_value().unwrap();
    let spec = &value["spec"]["jobTemplate"]["spec"];
    for (field, value) in said.as_object().unwrap() {
        assert_eq!(spec[field], *value, "{field}");
    }
    let value = defaulted("cronjobs.batch", cron_job()).to_value().unwrap();
    let fields = value["spec"]["jobTemplate"]["spec"].as_object().unwrap();
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["template"]);
}

#[test]
fn a_job_that_is_over_stays_so() {
    let at = |second: u8| format!("2026-01-01T00:00:{second:02}Z");
    let conditions = |kinds: &[&str]| -> Value {
        kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect()
    };
    let done = json!({
        "startTime": at(1), "completionTime": at(5), "succeeded": 1,
        "conditions": conditions(&["SuccessCriteriaMet", "Complete"]),
    });
    let runs = json!({"startTime": at(1), "active": 1, "failed": 1});
    let status = |value: &Value| with(job(), "/status", value.clone());
    let cases: &[(&Value, Value, &[&str])] = &[
        (
            &runs,
            done.clone(),
            &["status.failed: Invalid value: 0: cannot decrease the failed counter"],
        ),
        (
            &done,
            with(done.clone(), "/conditions", json!([])),
            &[
                "status.completionTime: Invalid value: \"2026-01-01T00:00:05Z\": cannot set completionTime when there is no Complete=True condition",
                "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
                "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
            ],
        ),
        (
            &runs,
            with(runs.clone(), "/conditions", conditions(&["Failed"])),
            &[
                "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
                "status.active: Invalid value: 1: active>0 is invalid for finished job",
            ],
        ),
        (
            &runs,
            with(runs.clone(), "/completedIndexes", json!("3,1")),
            &[
                "status.completedIndexes: Invalid value: \"3,1\": error parsing completedIndexes: too large index: \"3\"",
                "status.completedIndexes: Invalid value: \"3,1\": cannot set non-empty completedIndexes when non-indexed completion mode",
            ],
        ),
        (
            &runs,
            with(
                runs.clone(),
                "/uncountedTerminatedPods",
                json!({"succeeded": ["a", ""], "failed": ["a"]}),
            ),
            &[
                "status.uncountedTerminatedPods.succeeded[1]: Invalid value: \"\": must not be empty",
                "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
            ],
        ),
    ];
    for (old, new, expected) in cases {
        check_status("jobs.batch", status(old), status(new), expected);
    }
}
