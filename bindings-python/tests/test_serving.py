import asyncio
import json
import ssl
import urllib.request

import pytest

import pinnace


def version(serving):
    context = ssl.create_default_context(cadata=serving.ca)
    with urllib.request.urlopen(f"{serving.url}/version", context=context, timeout=30) as answer:
        return json.load(answer)


def test_an_engine_serves_until_it_is_closed(engine, tmp_path):
    with pytest.raises(pinnace.ConfigError):
        engine.kubeconfig("admin", ["system:masters"])
    with engine.serve("127.0.0.1:0", unix=tmp_path / "socket", names=["pinnace.example"]) as serving:
        assert version(serving)["minor"] == "36"
        assert serving.address in serving.url and serving.address in repr(serving)
        assert serving.unix == str(tmp_path / "socket")
        assert serving.url in engine.kubeconfig("admin", ["system:masters"])
    with pytest.raises(OSError):
        version(serving)
    engine.close()
    serving.close()


def test_an_async_engine_serves(tmp_path):
    async def main():
        async with pinnace.AsyncEngine(runtime="simulated") as engine:
            async with await engine.serve("127.0.0.1:0") as serving:
                return await asyncio.to_thread(version, serving)

    assert asyncio.run(main())["major"] == "1"


@pytest.mark.parametrize("wrong", [{}, {"address": "nowhere"}])
def test_what_cannot_be_served_is_said(engine, wrong):
    with pytest.raises(pinnace.ConfigError):
        engine.serve(**wrong)


def test_pods_that_are_there_and_pods_that_are_not_are_explained(engine):
    def pod(name, **spec):
        spec["containers"] = [{"name": "a", "image": "b"}]
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}

    # Where one pod runs, the scheduler knows of a node.
    engine.create(pod("first"))
    engine.wait("pods/first", "Ready")
    engine.create(pod("a", nodeSelector={"disk": "fast"}))
    explained = engine.explain("a")
    assert explained["fitting"] == [] and explained["excluded"]
    assert "didn't match Pod's node affinity/selector" in explained["message"]
    assert explained["relaxations"]
    would = engine.explain_what_if(pod("b"), namespace="other")
    assert would["pod"].startswith("other/") and would["fitting"]
    with pytest.raises(pinnace.NotFoundError):
        engine.explain("b")
