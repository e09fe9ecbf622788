import pytest
from conftest import config_map

import pinnace

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Request, users: ["pinnace:host"], verbs: [create], resources: [{resources: [configmaps]}]}
"""


def noted(note):
    with pinnace.Engine(runtime="simulated", nodes=0, audit=pinnace.Audit(note, POLICY)) as engine:
        for name in "abc":
            engine.create(config_map(name, key=name))
        engine.get("configmaps/a")


def test_a_function_hears_what_the_policy_says():
    events = []
    noted(events.append)
    assert [event["requestObject"]["data"] for event in events] == [{"key": key} for key in "abc"]
    event = events[0]
    assert (event["kind"], event["apiVersion"], event["stage"]) == (
        "Event",
        "audit.k8s.io/v1",
        "ResponseComplete",
    )
    assert (event["verb"], event["user"]["username"]) == ("create", "pinnace:host")


def test_what_raises_is_logged_and_loses_nothing_else(caplog):
    events = []

    def note(event):
        if event["requestObject"]["data"]["key"] == "b":
            raise ValueError("broken")
        events.append(event)

    noted(note)
    assert [event["requestObject"]["data"]["key"] for event in events] == ["a", "c"]
    (record,) = caplog.records
    assert record.name == "pinnace.audit" and record.exc_info[0] is ValueError


def test_the_function_cannot_end_the_engine():
    refused = []

    def note(event):
        try:
            engines[0].close()
        except pinnace.ConfigError as error:
            refused.append(str(error))

    audit = pinnace.Audit(note, POLICY)
    with pinnace.Engine(runtime="simulated", nodes=0, audit=audit) as engine:
        engines = [engine]
        engine.create(config_map("a"))
    assert refused == ["an engine cannot be closed from within a reconcile or an audit function"]


@pytest.mark.parametrize(
    "policy, why",
    [
        ("{", "audit policy: "),
        ({"apiVersion": "audit.k8s.io/v1", "kind": "Policy"}, "audit policy: rules: at least one"),
        ({"apiVersion": "v1", "kind": "Policy"}, "audit policy: expected Policy of audit.k8s.io/v1"),
    ],
)
def test_a_policy_that_is_none_is_refused(policy, why):
    with pytest.raises(pinnace.ConfigError, match=why):
        pinnace.Engine(runtime="simulated", audit=pinnace.Audit(print, policy))
