"""Commands of kubectl, each with what it prints or stores."""

import base64
import json
import re
import subprocess

import pytest

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "registry.example/web:1"}]}
"""
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '%s'}\n"


@pytest.fixture
def web(spaced):
    spaced("apply", "-f", "-", input=WEB)
    spaced("rollout", "status", "deploy/web", "--timeout=30s")
    return spaced


def config(kubectl, value="1"):
    return kubectl("apply", "-f", "-", input=CONFIG % value)


def test_apply(spaced):
    assert [config(spaced, value) for value in "112"] == [
        "configmap/a created\n",
        "configmap/a unchanged\n",
        "configmap/a configured\n",
    ]
    assert spaced.get("cm", "a")["data"] == {"x": "2"}


def test_apply_on_the_server(spaced):
    apply = ["apply", "--server-side", "-f", "-"]
    assert spaced(*apply, input=CONFIG % 1) == "configmap/a serverside-applied\n"
    other = spaced(*apply, "--field-manager=other", input=CONFIG % 2, code=1)
    assert 'conflict with "kubectl"' in other and ".data.x" in other
    spaced(*apply, "--field-manager=other", "--force-conflicts", input=CONFIG % 2)
    assert spaced.get("cm", "a")["data"] == {"x": "2"}


def test_what_was_applied_here_is_applied_on_the_server(spaced):
    """Nobody has to be forced: the server takes what kubectl has owned by its annotation."""
    spaced("apply", "-f", "-", input=CONFIG.replace("{x:", "{gone: 'soon', x:") % 1)
    assert spaced("apply", "--server-side", "-f", "-", input=CONFIG % 2) == (
        "configmap/a serverside-applied\n"
    )
    stored = json.loads(spaced("get", "cm", "a", "-o", "json", "--show-managed-fields"))
    owners = {(one["manager"], one["operation"]) for one in stored["metadata"]["managedFields"]}
    # The second has the annotation, which kubectl keeps for those who go back.
    assert owners == {("kubectl", "Apply"), ("kubectl-last-applied", "Apply")}
    assert stored["data"] == {"x": "2"}


@pytest.mark.parametrize(
    "command, stored",
    [
        ("deployment a --image=web:1", "deployment.apps/a"),
        ("configmap a --from-literal=x=1", "configmap/a"),
        ("secret generic a --from-literal=x=1", "secret/a"),
        ("job a --image=job:1", "job.batch/a"),
        ("cronjob a --image=job:1 --schedule=0_0_*_*_*", "cronjob.batch/a"),
        ("role a --verb=get --resource=pods", "role.rbac.authorization.k8s.io/a"),
        ("rolebinding a --role=a --user=u", "rolebinding.rbac.authorization.k8s.io/a"),
        ("pdb a --selector=a=b --min-available=1", "poddisruptionbudget.policy/a"),
        ("ingress a --rule=a.example/=s:80", "ingress.networking.k8s.io/a"),
        ("serviceaccount a", "serviceaccount/a"),
    ],
)
def test_create(spaced, command, stored):
    words = [word.replace("_", " ") for word in command.split()]
    assert spaced("create", *words) == f"{stored} created\n"
    assert spaced("get", stored, "-o", "name") == f"{stored}\n"
    assert "already exists" in spaced("create", *words, code=1)


@pytest.mark.parametrize(
    "form, printed",
    [
        ("name", "configmap/a\n"),
        ("jsonpath={.data.x}", "1"),
        ("go-template={{.data.x}}", "1"),
        ("custom-columns=NAME:.metadata.name,X:.data.x", "NAME   X\na      1\n"),
    ],
)
def test_get(spaced, form, printed):
    config(spaced)
    assert spaced("get", "cm", "a", "-o", form) == printed
    assert "x: \"1\"" in spaced("get", "cm", "a", "-o", "yaml")


def test_get_wide(web):
    lines = web("get", "deploy", "-o", "wide").splitlines()
    assert lines[0].split() == (
        "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR".split()
    )
    row = lines[1].split()
    assert row[:4] == ["web", "2/2", "2", "2"]
    assert row[5:] == ["web", "registry.example/web:1", "app=web"]


def test_get_watch(spaced):
    config(spaced)
    with spaced.start("get", "cm", "a", "-w", "-o", "jsonpath={.data.x}{\"\\n\"}") as watch:
        try:
            assert watch.stdout.readline() == "1\n"
            config(spaced, "2")
            assert watch.stdout.readline() == "2\n"
        finally:
            watch.terminate()


def test_describe(web):
    said = web("describe", "deploy", "web")
    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in said
    assert "ScalingReplicaSet" in said
    pod = web("get", "pods", "-o", "name").split()[0]
    assert "Successfully assigned" in web("describe", pod)


def test_edit(spaced):
    config(spaced)
    said = spaced("edit", "cm", "a", KUBE_EDITOR="sed -i s/x:/z:/")
    assert said == "configmap/a edited\n"
    assert spaced.get("cm", "a")["data"] == {"z": "1"}


@pytest.mark.parametrize(
    "kind, patch",
    [
        ("merge", {"spec": {"paused": True}}),
        ("strategic", {"spec": {"paused": True}}),
        ("json", [{"op": "add", "path": "/spec/paused", "value": True}]),
    ],
)
def test_patch(spaced, kind, patch):
    spaced("apply", "-f", "-", input=WEB)
    said = spaced("patch", "deploy", "web", "--type", kind, "-p", json.dumps(patch))
    assert said == "deployment.apps/web patched\n"
    assert spaced.get("deploy", "web")["spec"]["paused"] is True


def test_label_and_annotate(spaced):
    config(spaced)
    assert spaced("label", "cm", "a", "l=1") == "configmap/a labeled\n"
    assert spaced("annotate", "cm", "a", "n=2") == "configmap/a annotated\n"
    metadata = spaced.get("cm", "-l", "l=1")["items"][0]["metadata"]
    assert metadata["annotations"]["n"] == "2"
    assert spaced("label", "cm", "a", "l-") == "configmap/a unlabeled\n"


@pytest.mark.parametrize("cascade, left", [("background", 0), ("foreground", 0), ("orphan", 1)])
def test_delete(web, cascade, left):
    said = web("delete", "deploy", "web", f"--cascade={cascade}")
    assert said.startswith('deployment.apps "web" deleted')
    if not left:
        web("wait", "rs", "-l", "app=web", "--for=delete", "--timeout=30s")
    assert len(web.get("rs")["items"]) == left


def test_wait(web):
    said = web("wait", "deploy/web", "--for=condition=Available", "--timeout=30s")
    assert said == "deployment.apps/web condition met\n"
    late = web("wait", "deploy/web", "--for=condition=Never", "--timeout=100ms", code=1)
    assert "timed out waiting for the condition on deployments/web" in late


def test_explain(kubectl):
    said = kubectl("explain", "deployment", "--recursive")
    assert "GROUP:      apps" in said and "maxUnavailable\t<IntOrString>" in said


def test_discovery(kubectl):
    names = kubectl("api-resources", "-o", "name").split()
    assert {"pods", "deployments.apps", "jobs.batch", "roles.rbac.authorization.k8s.io"} <= {*names}
    assert {"v1", "apps/v1", "batch/v1"} <= {*kubectl("api-versions").split()}


def test_diff(spaced):
    config(spaced)
    assert spaced("diff", "-f", "-", input=CONFIG % 1) == ""
    said = spaced("diff", "-f", "-", input=CONFIG % 2, code=1).splitlines()
    assert '-  x: "1"' in said and '+  x: "2"' in said


def test_replace(spaced):
    config(spaced)
    assert spaced("replace", "-f", "-", input=CONFIG % 3) == "configmap/a replaced\n"
    assert spaced.get("cm", "a")["data"] == {"x": "3"}


def test_scale(web):
    assert web("scale", "deploy/web", "--replicas=4") == "deployment.apps/web scaled\n"
    web("wait", "deploy/web", "--for=jsonpath={.status.availableReplicas}=4", "--timeout=30s")


def test_rollout_and_set_image(web):
    assert web("set", "image", "deploy/web", "web=web:2") == "deployment.apps/web image updated\n"
    assert "successfully rolled out" in web("rollout", "status", "deploy/web", "--timeout=30s")
    history = web("rollout", "history", "deploy/web").splitlines()
    assert [line.split()[0] for line in history if line][1:] == ["REVISION", "1", "2"]
    # Newer ones warn as well.
    assert web("rollout", "undo", "deploy/web").startswith("deployment.apps/web rolled back\n")
    containers = web.get("deploy", "web")["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == "registry.example/web:1"
    for verb, done in [("restart", "restarted"), ("pause", "paused"), ("resume", "resumed")]:
        assert web("rollout", verb, "deploy/web") == f"deployment.apps/web {done}\n"


def test_expose(web):
    assert web("expose", "deploy/web", "--port=80") == "service/web exposed\n"
    assert web.get("svc", "web")["spec"]["selector"] == {"app": "web"}


def test_run(spaced):
    assert spaced("run", "a", "--image=web:1") == "pod/a created\n"
    spaced("wait", "pod/a", "--for=condition=Ready", "--timeout=30s")
    assert spaced.get("pod", "a")["metadata"]["labels"] == {"run": "a"}


def test_cordon_and_taint(kubectl):
    node = kubectl("get", "nodes", "-o", "name").split()[-1]
    name = node.split("/")[1]
    assert kubectl("cordon", name) == f"{node} cordoned\n"
    assert kubectl.get(node)["spec"]["unschedulable"] is True
    assert kubectl("uncordon", name) == f"{node} uncordoned\n"
    assert kubectl("taint", "node", name, "k=v:NoSchedule") == f"{node} tainted\n"
    assert {"key": "k", "value": "v", "effect": "NoSchedule"} in kubectl.get(node)["spec"]["taints"]
    assert kubectl("taint", "node", name, "k-") == f"{node} untainted\n"


def test_events(web):
    said = web("events", "--for", "deploy/web")
    assert "ScalingReplicaSet" in said and "Deployment/web" in said


def test_kustomize(spaced, tmp_path):
    (tmp_path / "a.yaml").write_text(CONFIG % 1)
    (tmp_path / "kustomization.yaml").write_text("namePrefix: my-\nresources: [a.yaml]\n")
    assert spaced("apply", "-k", str(tmp_path)) == "configmap/my-a created\n"


def test_autoscale(web):
    said = web("autoscale", "deploy/web", "--min=1", "--max=3", "--cpu-percent=50")
    assert "horizontalpodautoscaler.autoscaling/web autoscaled\n" in said
    assert web.get("hpa", "web")["spec"]["maxReplicas"] == 3


def test_drain(web):
    pod = web.get("pods")["items"][0]
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    said = web("drain", node, "--ignore-daemonsets", "--force", "--timeout=50s")
    assert f"pod/{name} evicted" in said and f"node/{node} drained" in said
    web("uncordon", node)


def test_auth(kubectl):
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "system:masters" in kubectl("auth", "whoami")


def test_create_token(spaced):
    spaced("create", "serviceaccount", "a")
    assert spaced("create", "token", "a").count(".") == 2


def test_cluster_info_dump(web):
    said = web("cluster-info", "dump", "--namespaces", web.namespace)
    assert '"kind": "DeploymentList"' in said and "registry.example/web:1" in said


# kubectl 1.32 describes these in beta versions, which 1.36 serves no more.
IN_BETA = {"ipaddresses.networking.k8s.io", "servicecidrs.networking.k8s.io"}


def test_describe_every_kind(spaced):
    """What is made here by hand, or is there from the start, is described by its name."""
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
    lasting = {"metadata": {"labels": {"a": "b"}}, "spec": {**pod, "restartPolicy": "Always"}}
    selected = {"selector": {"matchLabels": {"a": "b"}}, "template": lasting}
    job = {"suspend": True, "template": {"spec": pod}}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    bound = {"policyName": "x", "validationActions": ["Deny"]}
    device = {"name": "d", "exactly": {"deviceClassName": "x"}}
    made = {
        "v1": {
            "ConfigMap": {}, "Secret": {}, "LimitRange": {"spec": {"limits": []}},
            "Pod": {"spec": {**pod, "nodeName": "nowhere"}}, "PodTemplate": {"template": lasting},
            "PersistentVolume": {"spec": {
                "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "hostPath": {"path": "/tmp/x"}}},
            "PersistentVolumeClaim": {"spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
            "ReplicationController": {"spec": {
                "replicas": 0, "selector": {"a": "b"}, "template": lasting}},
            "ResourceQuota": {"spec": {"hard": {"pods": "10"}}},
            "Service": {"spec": {"ports": [{"port": 80}]}},
        },
        "apps/v1": {
            "DaemonSet": {"spec": {**selected, "template": {**lasting, "spec": {
                **lasting["spec"], "nodeSelector": {"no": "where"}}}}},
            "Deployment": {"spec": {**selected, "replicas": 0}},
            "ReplicaSet": {"spec": {**selected, "replicas": 0}},
            "StatefulSet": {"spec": {**selected, "replicas": 0, "serviceName": "x"}},
            "ControllerRevision": {"revision": 1, "data": {}},
        },
        "autoscaling/v2": {"HorizontalPodAutoscaler": {"spec": {
            "maxReplicas": 2,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"}}}},
        "batch/v1": {
            "Job": {"spec": job},
            "CronJob": {"spec": {
                "schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": job}}},
        },
        "coordination.k8s.io/v1": {"Lease": {}},
        "discovery.k8s.io/v1": {"EndpointSlice": {"addressType": "IPv4", "endpoints": []}},
        "networking.k8s.io/v1": {
            "Ingress": {"spec": {"defaultBackend": {"service": {
                "name": "x", "port": {"number": 80}}}}},
            "IngressClass": {"spec": {"controller": "example.com/x"}},
            "NetworkPolicy": {"spec": {"podSelector": {}}},
        },
        "node.k8s.io/v1": {"RuntimeClass": {"handler": "x"}},
        "policy/v1": {"PodDisruptionBudget": {"spec": {
            "minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}},
        "rbac.authorization.k8s.io/v1": {"Role": {}, "RoleBinding": {"roleRef": role}},
        "resource.k8s.io/v1": {
            "DeviceClass": {"spec": {}},
            "ResourceClaim": {"spec": {"devices": {"requests": [device]}}},
            "ResourceClaimTemplate": {"spec": {"spec": {"devices": {"requests": [device]}}}},
        },
        "scheduling.k8s.io/v1": {"PriorityClass": {"value": 1}},
        "storage.k8s.io/v1": {
            "StorageClass": {"provisioner": "example.com/x"},
            "CSIDriver": {"spec": {}},
        },
        "admissionregistration.k8s.io/v1": {
            "ValidatingAdmissionPolicyBinding": {"spec": bound},
            "ValidatingWebhookConfiguration": {}, "MutatingWebhookConfiguration": {},
        },
    }
    objects = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **rest}
        for version, kinds in made.items()
        for kind, rest in kinds.items()
    ]
    listed = {"apiVersion": "v1", "kind": "List", "items": objects}
    spaced("apply", "-f", "-", input=json.dumps(listed))
    names = {f"{one['kind'].lower()}.{one['apiVersion'].rpartition('/')[0]}" for one in objects}
    for name in names:
        kind = name.rstrip(".")
        said = spaced("describe", kind, "x")
        assert re.search(r"^Name:\s+x$", said, re.M), (kind, said)
    from_the_start = "namespaces nodes serviceaccounts clusterroles clusterrolebindings services"
    rest = "flowschemas prioritylevelconfigurations apiservices componentstatuses"
    for kind in f"{from_the_start} {rest}".split():
        said = spaced("describe", kind, "-A")
        assert re.search(r"^Name:\s+\S+$", said, re.M), (kind, said)
    # Whatever can be listed, if only that there is none of it.
    for kind in set(spaced("api-resources", "--verbs=list", "-o", "name").split()) - IN_BETA:
        said = spaced("describe", kind, "-A")
        assert "Name:" in said or "No resources found" in said, (kind, said)


def test_certificate_approve(kubectl, tmp_path):
    key, request = tmp_path / "key", tmp_path / "request"
    command = f"openssl req -new -newkey rsa:2048 -nodes -subj /O=devs/CN=jane -keyout {key} -out {request}"
    subprocess.run(command.split(), check=True, capture_output=True)
    kubectl("apply", "-f", "-", input=json.dumps({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "jane"},
        "spec": {
            "request": base64.b64encode(request.read_bytes()).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client",
            "usages": ["client auth"],
        },
    }))
    assert kubectl("certificate", "approve", "jane") == (
        "certificatesigningrequest.certificates.k8s.io/jane approved\n"
    )
    conditions = kubectl.get("csr", "jane")["status"]["conditions"]
    assert [one["type"] for one in conditions] == ["Approved"]
