"""An operator of kopf's."""

import asyncio
import threading

import pytest

kopf = pytest.importorskip("kopf")
SECONDS = 30


@pytest.fixture
def operator(kubeconfig, monkeypatch):
    """Runs what a registry holds, in a thread of its own, until the test ends."""
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    running = []

    def start(registry, namespace):
        ready, stop = threading.Event(), threading.Event()

        def run():
            asyncio.run(kopf.operator(
                registry=registry, namespaces=[namespace], standalone=True,
                ready_flag=ready, stop_flag=stop,
            ))

        thread = threading.Thread(target=run)
        thread.start()
        running.append((thread, stop))
        assert ready.wait(SECONDS)

    yield start
    for thread, stop in running:
        stop.set()
        thread.join(SECONDS)
        assert not thread.is_alive()


def test_an_operator_of_a_built_in_kind_creates_follows_and_holds(spaced, operator):
    registry, gone = kopf.OperatorRegistry(), []

    @kopf.on.login(registry=registry)
    def login(**about):
        return kopf.login_with_kubeconfig(**about)

    @kopf.on.create("configmaps", labels={"watched": "yes"}, registry=registry)
    def created(body, patch, **_):
        kopf.info(body, reason="Seen", message="hello")
        patch.metadata.annotations["seen"] = "created"

    @kopf.on.update("configmaps", labels={"watched": "yes"}, field="data.x", registry=registry)
    def updated(new, patch, **_):
        patch.metadata.annotations["seen"] = new

    @kopf.on.delete("configmaps", labels={"watched": "yes"}, registry=registry)
    def deleted(name, **_):
        gone.append(name)

    operator(registry, spaced.namespace)
    wait = ["wait", "configmap/a", f"--timeout={SECONDS}s"]
    seen = "--for=jsonpath={.metadata.annotations.seen}="
    spaced("create", "configmap", "a", "--from-literal=x=1")
    spaced("label", "configmap", "a", "watched=yes")
    spaced(*wait, seen + "created")
    assert "kopf.zalando.org/KopfFinalizerMarker" in spaced.get("configmap", "a")["metadata"]["finalizers"]
    spaced("patch", "configmap", "a", "-p", '{"data": {"x": "2"}}')
    spaced(*wait, seen + "2")
    spaced("delete", "configmap", "a", f"--timeout={SECONDS}s")
    assert "not found" in spaced("get", "configmap", "a", code=1)
    assert gone == ["a"]
    assert "hello" in spaced("get", "events", "--field-selector=reason=Seen")
