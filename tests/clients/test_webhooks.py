"""Webhooks that somebody else has written: an HTTPS server of Python's own."""

import base64
import http.server
import json

import pytest
from conftest import https


@pytest.fixture
def webhook(certificate):
    """Serves functions from request to response, by path; gives their `clientConfig`."""
    answers = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            request = review.pop("request")
            path = self.path.split("?")[0]
            review["response"] = {"uid": request["uid"], **answers[path](request)}
            body = json.dumps(review).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with https(Handler, certificate) as url:
        def serve(path, answer):
            answers[path] = answer
            bundle = base64.b64encode(certificate[0].read_bytes()).decode()
            return {"url": url + path, "caBundle": bundle}

        yield serve


def configuration(kind, name, namespace, client, **more):
    return json.dumps({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "webhooks": [{
            "name": "a.example.com", "clientConfig": client, "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps", "pods/exec"]}],
            **more,
        }],
    })


def test_a_webhook_refuses_and_warns(kubectl, spaced, webhook):
    def answer(request):
        labels = (request["object"] or {}).get("metadata", {}).get("labels", {})
        if labels.get("bad"):
            return {"allowed": False, "status": {"code": 403, "message": "it is bad"}}
        return {"allowed": True, "warnings": ["it could be better"]}

    made = configuration("ValidatingWebhookConfiguration", spaced.namespace, spaced.namespace, webhook("/validate", answer))
    kubectl("apply", "-f", "-", input=made)
    assert "Warning: it could be better" in spaced("create", "configmap", "a")
    refused = spaced("label", "configmap", "a", "bad=yes", code=1)
    assert 'admission webhook "a.example.com" denied the request: it is bad' in refused
    assert "bad" not in spaced.get("configmap", "a")["metadata"].get("labels", {})
    kubectl("delete", "validatingwebhookconfiguration", spaced.namespace)
    spaced("label", "configmap", "a", "bad=yes")


def test_a_webhook_changes_what_is_applied(kubectl, spaced, webhook):
    def answer(request):
        if request["operation"] == "DELETE" or "data" not in request["object"]:
            return {"allowed": True}
        patch = json.dumps([{"op": "add", "path": "/data/by", "value": request["userInfo"]["username"]}])
        return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(patch.encode()).decode()}

    made = configuration("MutatingWebhookConfiguration", spaced.namespace, spaced.namespace, webhook("/mutate", answer))
    kubectl("apply", "-f", "-", input=made)
    applied = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}})
    spaced("apply", "-f", "-", input=applied)
    assert spaced.get("configmap", "a")["data"]["by"]
    assert "unchanged" in spaced("apply", "-f", "-", input=applied)
    spaced("delete", "configmap", "a")
    kubectl("delete", "mutatingwebhookconfiguration", spaced.namespace)


def test_a_webhook_converts_a_custom_kind(kubectl, spaced, webhook):
    def convert(request):
        wanted, objects = request["desiredAPIVersion"], request["objects"]
        for one in objects:
            spec = one["spec"]
            if wanted.endswith("/v1") and "hostPort" in spec:
                host, port = spec.pop("hostPort").split(":")
                spec.update(host=host, port=int(port))
            elif wanted.endswith("/v1beta1") and "host" in spec:
                spec["hostPort"] = f"{spec.pop('host')}:{spec.pop('port')}"
            one["apiVersion"] = wanted
        return {"result": {"status": "Success"}, "convertedObjects": objects}

    def version(name, storage, **fields):
        spec = {"type": "object", "properties": fields}
        schema = {"type": "object", "properties": {"spec": spec}}
        return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": schema}}

    text, number = {"type": "string"}, {"type": "integer"}
    kubectl("apply", "-f", "-", input=json.dumps({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "sites.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "sites", "singular": "site", "kind": "Site", "listKind": "SiteList"},
            "versions": [version("v1", True, host=text, port=number), version("v1beta1", False, hostPort=text)],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": webhook("/convert", convert), "conversionReviewVersions": ["v1"]}},
        },
    }))
    kubectl("wait", "--for=condition=Established", "crd/sites.example.com", "--timeout=30s")
    spaced("create", "-f", "-", input=json.dumps({
        "apiVersion": "example.com/v1beta1", "kind": "Site", "metadata": {"name": "a"}, "spec": {"hostPort": "h:80"}}))
    assert spaced.get("sites.v1.example.com", "a")["spec"] == {"host": "h", "port": 80}
    assert spaced.get("sites.v1beta1.example.com")["items"][0]["spec"] == {"hostPort": "h:80"}
    kubectl("delete", "crd", "sites.example.com")
