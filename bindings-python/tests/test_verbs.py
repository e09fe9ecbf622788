import pytest
from conftest import config_map

import pinnace


def test_the_main_job(engine, web):
    assert [applied[:2] for applied in engine.apply(web)] == [("deployment.apps/web", "created")]
    engine.wait("deployments/web", "Available", timeout=30)
    engine.scale("deployments/web", 5)
    engine.wait("deployments/web", "jsonpath={.status.availableReplicas}=5", timeout=30)
    pods = engine.list("pods", labels={"app": "web"})
    assert all(pod["spec"]["nodeName"].startswith("node-") for pod in pods)
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    engine.delete("deployments/web", propagation="Foreground")
    engine.wait("deployments/web", "delete", timeout=30)
    assert engine.list("pods") == []


def test_an_object_is_created_read_replaced_patched_and_deleted(engine):
    created = engine.create(config_map("a", x="1"))
    assert engine.get("cm/a") == created
    created["data"]["x"] = "2"
    assert engine.update(created)["data"] == {"x": "2"}
    assert engine.patch("cm/a", {"data": {"y": "3"}})["data"] == {"x": "2", "y": "3"}
    operations = [{"op": "remove", "path": "/data/x"}]
    assert engine.patch("cm/a", operations, type="json")["data"] == {"y": "3"}
    engine.delete("cm/a")
    with pytest.raises(pinnace.NotFoundError):
        engine.get("cm/a")


def test_a_status_is_replaced_alone(engine):
    nowhere = {"nodeSelector": {"no": "where"}, "containers": [{"name": "a", "image": "b"}]}
    engine.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": nowhere})
    engine.wait("pods/a", "PodScheduled=False")
    read = engine.get("pods/a")
    del read["metadata"]["resourceVersion"]
    read["status"]["message"] = "hello"
    read["spec"]["nodeSelector"] = {"some": "where"}
    written = engine.update_status(read)
    assert written["status"]["message"] == "hello"
    assert written["spec"]["nodeSelector"] == {"no": "where"}


def test_lists_are_chosen_by_namespace_labels_and_fields(engine):
    engine.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}})
    engine.apply([config_map("a"), config_map("b")])
    engine.create(config_map("c"), namespace="other")

    def names(**selection):
        found = [one["metadata"]["name"] for one in engine.list("configmaps", **selection)]
        # Every namespace has the cluster's certificate.
        return [name for name in found if name != "kube-root-ca.crt"]

    assert names() == ["a", "b"]
    assert names(namespace="other") == ["c"]
    assert {"a", "b", "c"} <= set(names(all_namespaces=True))
    assert names(fields={"metadata.name": "b"}) == ["b"]
    assert names(labels="app") == []
    with pytest.raises(pinnace.ConfigError):
        names(namespace="")


def test_a_manifest_is_deleted_as_a_whole(engine, web):
    engine.apply(web)
    engine.delete_manifest(web)
    engine.delete_manifest(web)
    engine.wait("deployments/web", "delete")


def test_a_rollout_is_told_restarted_paused_and_undone(engine, web):
    engine.apply(web)
    engine.wait("deployments/web", "Available")
    image = "jsonpath={.spec.template.spec.containers.0.image}="
    engine.apply(web.replace("web:1", "web:2"))
    while not engine.rollout_status("deployments/web").done:
        pass
    assert "successfully rolled out" in engine.rollout_status("deployments/web").message
    engine.rollout_undo("deployments/web")
    engine.wait("deployments/web", image + "registry.example/web:1")
    engine.rollout_restart("deployments/web")
    assert "annotations" in engine.get("deployments/web")["spec"]["template"]["metadata"]
    engine.rollout_pause("deployments/web")
    assert engine.get("deployments/web")["spec"]["paused"] is True
    engine.rollout_resume("deployments/web")
    assert not engine.get("deployments/web")["spec"].get("paused")


def test_a_watch_tells_what_is_there_and_what_happens(engine):
    engine.create(config_map("a", x="1"))
    with engine.watch("configmaps", fields={"metadata.name": "a"}) as events:
        assert next(events).type == "ADDED"
        engine.patch("cm/a", {"data": {"x": "2"}})
        event, object = next(events)
        assert (event, object["data"]) == ("MODIFIED", {"x": "2"})
        engine.delete("cm/a")
        assert next(events).type == "DELETED"
    assert list(events) == []


def test_logs_of_a_pod_that_never_wrote_any_say_so(engine, web):
    with pytest.raises(pinnace.NotFoundError):
        engine.logs("none")
    with pytest.raises(pinnace.NotFoundError):
        engine.logs("none", follow=True)


def test_an_image_is_imported_under_the_names_that_the_runtime_gives(engine):
    assert engine.import_image("/images/web.tar") == ["web"]


def test_the_runtime_says_what_it_is_and_why(engine):
    assert engine.runtime.name == "simulated"
    assert engine.runtime.why


@pytest.mark.parametrize(
    ("use", "expected", "reason", "code"),
    [
        (lambda e: e.get("pods/none"), pinnace.NotFoundError, "NotFound", 404),
        (lambda e: e.get("frogs/none"), pinnace.NotFoundError, "NotFound", 404),
        (lambda e: e.create(config_map("Bad_Name")), pinnace.InvalidError, "Invalid", 422),
        (lambda e: e.get("nonsense"), pinnace.InvalidError, "BadRequest", 400),
        (lambda e: e.apply("a: [1"), pinnace.ManifestError, "BadRequest", 400),
        (lambda e: e.wait("pods/none", "Ready", 0.01), pinnace.TimeoutError, "Timeout", 504),
        (lambda e: e.wait("pods/none", "Ready", -1), pinnace.ConfigError, "BadRequest", 400),
        (lambda e: e.patch("pods/a", {}, type="x"), pinnace.ConfigError, "BadRequest", 400),
        (lambda e: e.delete("pods/a", propagation="x"), pinnace.ConfigError, "BadRequest", 400),
        (lambda e: e.list("pods", labels="!!"), pinnace.InvalidError, "BadRequest", 400),
    ],
)
def test_errors_say_reason_and_code(engine, use, expected, reason, code):
    with pytest.raises(expected) as caught:
        use(engine)
    assert caught.value.message
    assert (caught.value.reason, caught.value.code) == (reason, code)


def test_a_stale_update_conflicts(engine):
    stale = engine.create(config_map("a"))
    engine.patch("cm/a", {"data": {"x": "1"}})
    with pytest.raises(pinnace.ConflictError) as caught:
        engine.update(stale)
    assert caught.value.object == "configmaps/a"
    with pytest.raises(pinnace.AlreadyExistsError):
        engine.create(config_map("a"))


def test_an_error_of_a_manifest_has_line_and_column(engine):
    with pytest.raises(pinnace.ManifestError, match="line 2"):
        engine.apply("a: 1\nb: [\n")
