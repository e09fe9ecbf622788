"""What kubectl could do in 1.20 already, with kubectl 1.20: it finds kinds by the older discovery,
checks objects by OpenAPI v2 and evicts by policy/v1beta1."""

import pytest
from test_kubectl import (  # noqa: F401
    test_apply,
    test_apply_on_the_server,
    test_autoscale,
    test_certificate_approve,
    test_cluster_info_dump,
    test_cordon_and_taint,
    test_describe,
    test_diff,
    test_discovery,
    test_edit,
    test_expose,
    test_get,
    test_get_watch,
    test_get_wide,
    test_kustomize,
    test_patch,
    test_replace,
    test_rollout_and_set_image,
    test_run,
    test_wait,
    web,
)


@pytest.fixture(scope="module")
def kubectl_path(older_kubectl):
    return older_kubectl


def test_explain(kubectl):
    said = kubectl("explain", "deployment", "--recursive")
    assert "VERSION:  apps/v1" in said and "maxUnavailable\t<string>" in said


def test_label_and_scale(web):
    web("label", "deploy", "web", "tier=front")
    web("scale", "deploy/web", "--replicas=3")
    web("rollout", "status", "deploy/web", "--timeout=30s")
    assert len(web.get("pods", "-l", "app=web")["items"]) == 3
    assert web.get("deploy", "-l", "tier=front")["items"]


def test_drain(web):
    pod = web.get("pods")["items"][0]
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    said = web("drain", node, "--ignore-daemonsets", "--force", "--timeout=50s")
    assert f"pod/{name} evicted" in said and f"node/{node} evicted" in said
    web("uncordon", node)
