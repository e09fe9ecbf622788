"""Definitions of a real project, 900 KB of them: those that the package dask-kubernetes holds."""

import subprocess
import sys
import zipfile

import pytest

from conftest import Kubectl

PACKAGE = "dask-kubernetes==2026.3.0"
PLURALS = ("daskautoscalers", "daskclusters", "daskjobs", "daskworkergroups")
EXAMPLES = "dask_kubernetes/operator/controller/tests/resources/"


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The files of the package, by path; its code is not installed."""
    folder = tmp_path_factory.mktemp("package")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder]
    if subprocess.run([*pip, PACKAGE], timeout=120).returncode:
        pytest.skip(f"{PACKAGE} cannot be had here")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        yaml = [name for name in files.namelist() if name.endswith(".yaml")]
        return {name: files.read(name).decode() for name in yaml}


@pytest.fixture(scope="module")
def dask(package, kubectl_path, kubeconfig):
    kubectl = Kubectl(kubectl_path, kubeconfig)
    for name, text in package.items():
        if "/crds/" in name:
            kubectl("create", "-f", "-", input=text)
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    return kubectl


def test_kinds_are_there_and_described(dask):
    known = dask("api-resources", "--api-group=kubernetes.dask.org", "-o", "name").split()
    assert known == [f"{plural}.kubernetes.dask.org" for plural in PLURALS]
    port = "daskcluster.spec.worker.spec.containers.livenessProbe.httpGet.port"
    assert "FIELD: port" in dask("explain", port)


def test_objects_are_checked_and_shown(dask, package):
    cluster = package[EXAMPLES + "simplecluster.yaml"]
    assert "simple created" in dask("create", "-f", "-", input=cluster)
    head, row = dask("get", "daskclusters").splitlines()
    assert head.split()[:2] == ["NAME", "WORKERS"] and row.split()[:2] == ["simple", "2"]
    assert "replicas: 2" in cluster
    wrong = cluster.replace("replicas: 2", "replicas: two").replace("name: simple", "name: wrong")
    why = 'spec.worker.replicas in body must be of type integer: "string"'
    assert why in dask("create", "-f", "-", input=wrong, code=1)
    assert dask.get("daskclusters")["items"][0]["spec"]["worker"]["replicas"] == 2
