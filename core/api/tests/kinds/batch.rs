use serde_json::{Value, json};

use crate::support::{check, check_update, defaulted, with};

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
                "spec.completionMode: Unsupported value: \"Sorted\": supported values: \"Indexed\", \"NonIndexed\"",
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
                "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"Never\", \"OnFailure\"",
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
