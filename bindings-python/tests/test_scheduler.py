import json
import time

import pytest

import pinnace


def engine_with(judge, **more):
    """An engine whose scheduler knows its three nodes already, and asks a function."""

    def run(pod, nodes):
        warm = pod["metadata"]["name"] == "warm"
        return [1] * len(nodes) if warm else judge(pod, nodes)

    plugin = pinnace.SchedulerPlugin(run, **more)
    engine = pinnace.Engine(runtime="simulated", nodes=3, scheduler_plugins=[plugin])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if len(engine.explain_what_if(pod("warm"))["fitting"]) == 3:
            break
    return engine


def pod(name):
    container = {"name": "a", "image": "a:1"}
    metadata = {"name": name, "namespace": "default"}
    spec = {"containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def node_of(engine, name):
    engine.wait(f"pods/{name}", "PodScheduled", timeout=30)
    return engine.get(f"pods/{name}")["spec"]["nodeName"]


def test_a_function_excludes_and_ranks_nodes_in_one_call_per_pod():
    calls = []

    def judge(pod, nodes):
        calls.append((pod["metadata"]["name"], len(nodes)))
        assert len(nodes.allocatable("cpu")) == len(nodes.requested("cpu")) == len(nodes)
        assert all(cpu > 0 for cpu in nodes.allocatable("cpu"))
        assert list(nodes.allocatable("example.com/none")) == [0] * len(nodes)
        assert nodes.label("kubernetes.io/hostname") == nodes.names
        assert nodes.object(0)["metadata"]["name"] == nodes.names[0]
        assert "memory" in nodes.resources
        first, *rest = sorted(nodes.names)
        return {first: None, **{name: 100 * (name == rest[-1]) for name in rest}}

    with engine_with(judge, weight=100) as engine:
        names = sorted(one["metadata"]["name"] for one in engine.list("nodes"))
        for index in range(3):
            engine.create(pod(f"p-{index}"))
            assert node_of(engine, f"p-{index}") == names[-1]
    assert calls == [(f"p-{index}", 3) for index in range(3)]


def broken(pod, nodes):
    raise ValueError("broken")


@pytest.mark.parametrize(
    "judge, said",
    [
        (broken, "ValueError: broken"),
        (lambda pod, nodes: [float("nan")] * len(nodes), "the score NaN, which is not from 0 to 100"),
        (lambda pod, nodes: [101] * len(nodes), "the score 101, which is not from 0 to 100"),
        (lambda pod, nodes: [1], "it gives 1 scores for 3 nodes"),
        (lambda pod, nodes: {"nowhere": 1}, "it was not asked about node 'nowhere'"),
        (lambda pod, nodes: None, "TypeError"),
    ],
)
def test_what_is_no_score_is_said_with_the_name_of_the_plugin(judge, said):
    with engine_with(judge, name="mine") as engine:
        engine.create(pod("a"))
        engine.wait("pods/a", "PodScheduled=False", timeout=30)
        conditions = engine.get("pods/a")["status"]["conditions"]
        message = next(one["message"] for one in conditions if one["type"] == "PodScheduled")
        assert 'plugin "mine"' in message and said in message


def test_a_policy_is_taken_or_refused():
    policy = {"apiVersion": "descheduler/v1alpha2", "kind": "DeschedulerPolicy"}
    for rebalancing in (True, False, policy, json.dumps(policy)):
        with pinnace.Engine(runtime="simulated", rebalancing=rebalancing) as engine:
            assert engine.runtime.name == "simulated"
    with pytest.raises(pinnace.PinnaceError, match="no kind"):
        pinnace.Engine(runtime="simulated", rebalancing={**policy, "kind": "Other"})
