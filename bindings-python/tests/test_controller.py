import asyncio
import threading

import pytest
from conftest import config_map

import pinnace

DEADLINE = 30


def copy_of(name):
    return config_map(f"{name}-copy") | {
        "metadata": {"name": f"{name}-copy", "labels": {"copy": "yes"}}
    }


def test_a_reconciler_makes_what_is_missing_and_heals_what_it_owns(engine):
    def reconcile(namespace, name):
        if namespace != "default" or not name.startswith("source") or name.endswith("-pod"):
            return
        source = engine.get(f"cm/{name}", namespace=namespace)
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-pod",
                "ownerReferences": [
                    {
                        "apiVersion": "v1",
                        "kind": "ConfigMap",
                        "name": name,
                        "uid": source["metadata"]["uid"],
                        "controller": True,
                    }
                ],
            },
            "spec": {"containers": [{"name": "a", "image": "b"}]},
        }
        try:
            engine.create(pod, namespace=namespace)
        except pinnace.AlreadyExistsError:
            pass

    engine.controller("configmaps", reconcile, owns=["pods"], workers=2)
    engine.create(config_map("source"))
    engine.wait("pods/source-pod", "Ready", timeout=DEADLINE)
    first = engine.get("pods/source-pod")["metadata"]["uid"]
    engine.delete("pods/source-pod", grace_period_seconds=0)
    with engine.watch("pods") as events:
        assert any(e.type == "ADDED" and e.object["metadata"]["uid"] != first for e in events)


def test_a_reconcile_that_raises_is_logged_and_tried_again(engine, caplog):
    runs, done = [], threading.Event()

    def flaky(namespace, name):
        if name != "a":
            return
        runs.append(name)
        if len(runs) < 3:
            raise ValueError("not yet")
        done.set()

    engine.controller("configmaps", flaky)
    engine.create(config_map("a"))
    assert done.wait(DEADLINE)
    assert "not yet" in caplog.text
    assert {record.name for record in caplog.records} == {"pinnace.controller.flaky"}


def test_a_reconcile_may_come_again_later_or_be_asked_for(engine):
    runs, done = [], threading.Event()

    def reconcile(namespace, name):
        if name != "asked":
            return None
        runs.append(namespace)
        if len(runs) == 2:
            done.set()
        return 0.01

    controller = engine.controller("configmaps", reconcile)
    controller.enqueue("asked", namespace="x")
    assert done.wait(DEADLINE)
    assert runs[:2] == ["x", "x"]


def test_an_engine_is_not_closed_from_within_a_reconcile(engine):
    raised, done = [], threading.Event()

    def reconcile(namespace, name):
        try:
            engine.close()
        except pinnace.ConfigError as error:
            raised.append(error)
        done.set()

    engine.controller("namespaces", reconcile)
    assert done.wait(DEADLINE)
    assert raised


def test_an_unknown_kind_has_no_controller(engine):
    with pytest.raises(pinnace.NotFoundError):
        engine.controller("frogs", print)


def test_a_coroutine_reconciles_on_the_loop_of_its_caller():
    async def main():
        async with pinnace.AsyncEngine(runtime="simulated") as engine:
            seen = asyncio.Event()

            async def reconcile(namespace, name):
                if name == "a":
                    await engine.get("cm/a")
                    seen.set()

            await engine.controller("configmaps", reconcile)
            await engine.create(config_map("a"))
            await asyncio.wait_for(seen.wait(), DEADLINE)

    asyncio.run(main())
