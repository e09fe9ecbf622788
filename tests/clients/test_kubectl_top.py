"""What kubectl shows of what nodes and pods use."""

import json

POD = """
apiVersion: v1
kind: Pod
metadata:
  name: busy
  labels: {app: busy}
  annotations:
    pinnace.dev/simulate.main: cpu=250m,memory=64Mi
    pinnace.dev/simulate.side: cpu=50m,memory=16Mi
spec:
  containers:
  - {name: main, image: "registry.example/busy:1"}
  - {name: side, image: "registry.example/busy:1"}
"""
SECONDS = 30


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_top(spaced, kubectl):
    spaced("apply", "-f", "-", input=POD)
    spaced("wait", "pod/busy", "--for=condition=Ready", f"--timeout={SECONDS}s")
    expected = [["NAME", "CPU(cores)", "MEMORY(bytes)"], ["busy", "300m", "80Mi"]]
    assert rows(spaced("top", "pods")) == expected
    assert rows(spaced("top", "pods", "-l", "app=busy")) == expected
    assert rows(spaced("top", "pod", "busy", "--containers"))[1:] == [
        ["busy", "main", "250m", "64Mi"],
        ["busy", "side", "50m", "16Mi"],
    ]
    assert "No resources found" in spaced("top", "pods", "-l", "app=none")
    nodes = rows(kubectl("top", "nodes"))
    assert nodes[0][:2] == ["NAME", "CPU(cores)"] and len(nodes) == 4
    assert "300m" in [row[1] for row in nodes]


def test_get(spaced):
    spaced("apply", "-f", "-", input=POD)
    spaced("wait", "pod/busy", "--for=condition=Ready", f"--timeout={SECONDS}s")
    shown = rows(spaced("get", "pods.metrics.k8s.io"))
    assert shown == [["NAME", "CPU", "MEMORY", "WINDOW"], ["busy", "300m", "80Mi", "10s"]]
    explained = spaced("explain", "pods", "--api-version=metrics.k8s.io/v1beta1")
    assert "sets resource usage metrics" in explained


def test_the_pages_of_a_node(kubectl):
    name = kubectl.get("nodes")["items"][0]["metadata"]["name"]
    path = f"/api/v1/nodes/{name}/proxy"
    summary = json.loads(kubectl("get", "--raw", f"{path}/stats/summary"))
    assert summary["node"]["nodeName"] == name
    assert kubectl("get", "--raw", f"{path}/healthz") == "ok"
    assert "node_cpu_usage_seconds_total" in kubectl("get", "--raw", f"{path}/metrics/resource")
