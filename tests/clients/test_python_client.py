"""The official Python client."""

import threading

import pytest

kubernetes = pytest.importorskip("kubernetes")

SECONDS = 30
WEB = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "registry.example/web:1"}]},
        },
    },
}


@pytest.fixture
def api(kubeconfig):
    with kubernetes.config.new_client_from_config(str(kubeconfig)) as client:
        yield client


@pytest.fixture
def core(api):
    return kubernetes.client.CoreV1Api(api)


def test_a_config_map_is_created_read_patched_and_deleted(core):
    body = kubernetes.client.V1ConfigMap(
        metadata=kubernetes.client.V1ObjectMeta(generate_name="a-"), data={"x": "1"}
    )
    made = core.create_namespaced_config_map("default", body)
    name = made.metadata.name
    assert name.startswith("a-") and made.metadata.creation_timestamp
    assert core.read_namespaced_config_map(name, "default").data == {"x": "1"}
    patched = core.patch_namespaced_config_map(name, "default", {"data": {"y": "2"}})
    assert patched.data == {"x": "1", "y": "2"}
    made.data = {"z": "3"}
    with pytest.raises(kubernetes.client.ApiException) as refused:
        core.replace_namespaced_config_map(name, "default", made)
    assert refused.value.status == 409 and "please apply your changes" in refused.value.body
    assert core.delete_namespaced_config_map(name, "default")["status"] == "Success"
    with pytest.raises(kubernetes.client.ApiException) as gone:
        core.read_namespaced_config_map(name, "default")
    assert gone.value.status == 404


def test_a_watch_tells_of_pods_until_they_run(api, core):
    kubernetes.client.AppsV1Api(api).create_namespaced_deployment("default", WEB)
    watch, running = kubernetes.watch.Watch(), set()
    for event in watch.stream(core.list_namespaced_pod, "default", label_selector="app=web", timeout_seconds=SECONDS):
        if event["object"].status.phase == "Running":
            running.add(event["object"].metadata.name)
        if len(running) == 2:
            watch.stop()
    assert len(running) == 2
    scale = kubernetes.client.AppsV1Api(api).read_namespaced_deployment_scale("web", "default")
    assert scale.spec.replicas == 2 and scale.status.selector == "app=web"
    pages = [core.list_namespaced_pod("default", limit=1)]
    while pages[-1].metadata._continue:
        pages.append(core.list_namespaced_pod("default", limit=1, _continue=pages[-1].metadata._continue))
    assert len(pages) == 2


def test_every_resource_is_found_and_listed_by_the_dynamic_client(api):
    dynamic = kubernetes.dynamic.DynamicClient(api)
    found = [one for one in dynamic.resources.search() if "list" in (one.verbs or [])]
    assert len({(one.group_version, one.name) for one in found}) > 50
    for resource in found:
        if not resource.kind.endswith("List"):
            assert dynamic.get(resource).kind.endswith("List"), resource


def test_what_is_applied_is_owned_and_conflicts_are_told(api):
    dynamic = kubernetes.dynamic.DynamicClient(api)
    maps = dynamic.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owned"}, "data": {"x": "1"}}
    made = maps.server_side_apply(body=body, namespace="default", field_manager="one")
    assert made.metadata.managedFields[0].manager == "one"
    body["data"]["x"] = "2"
    with pytest.raises(kubernetes.dynamic.exceptions.ConflictError):
        maps.server_side_apply(body=body, namespace="default", field_manager="two")
    forced = maps.server_side_apply(body=body, namespace="default", field_manager="two", force_conflicts=True)
    assert forced.data.x == "2"


def test_one_of_two_is_elected(api):
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

    kubernetes.client.Configuration.set_default(api.configuration)
    led = threading.Event()

    class Elected(Exception):
        pass

    def lead():
        led.set()
        raise Elected

    config = electionconfig.Config(
        ConfigMapLock("leader", "default", "me"),
        lease_duration=3,
        renew_deadline=2,
        retry_period=1,
        onstarted_leading=lead,
        onstopped_leading=None,
    )
    thread = threading.Thread(target=leaderelection.LeaderElection(config).run, daemon=True)
    thread.start()
    assert led.wait(SECONDS)
