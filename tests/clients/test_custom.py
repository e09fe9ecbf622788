"""A custom kind looks to clients like one that has always been there, and policies hold for them."""

import json

import pytest

from test_kopf import SECONDS, kopf, operator  # noqa: F401

SHIRTS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: shirts.%(group)s}
spec:
  group: %(group)s
  scope: Namespaced
  names: {plural: shirts, singular: shirt, kind: Shirt, shortNames: [sh], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns:
    - {name: Color, type: string, jsonPath: .spec.color}
    - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
    schema:
      openAPIV3Schema:
        type: object
        description: A shirt to wear.
        properties:
          spec:
            type: object
            description: What it is like.
            required: [color]
            x-kubernetes-validations:
            - {rule: "self.size >= oldSelf.size", message: shirts do not shrink}
            properties:
              color: {type: string, description: Its color., enum: [red, blue, green]}
              size: {type: integer, default: 3}
          status: {type: object, properties: {size: {type: integer}, seen: {type: string}}}
"""
POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: %(name)s}
spec:
  matchConstraints:
    namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: %(name)s}}
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  variables:
  - {name: replicas, expression: object.spec.replicas}
  validations:
  - {expression: variables.replicas <= 3, messageExpression: "'at most 3 replicas, not ' + string(variables.replicas)"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: %(name)s}
spec: {policyName: %(name)s, validationActions: [Deny]}
"""


def shirt(color="red", group="a.example", **spec):
    about = {"apiVersion": f"{group}/v1", "kind": "Shirt", "metadata": {"name": "a"}}
    return json.dumps({**about, "spec": {"color": color, **spec}})


@pytest.fixture
def shirts(kubectl, spaced, request):
    """A definition of the test's own; gives what applies a shirt."""
    group = f"{request.function.__name__.replace('_', '-')}.example"
    kubectl("apply", "-f", "-", input=SHIRTS % {"group": group})
    kubectl("wait", "--for=condition=established", f"crd/shirts.{group}", "--timeout=30s")

    def apply(*args, code=0, **spec):
        return spaced("apply", *args, "-f", "-", input=shirt(group=group, **spec), code=code)

    apply.group, apply.kind = group, f"shirts.{group}"
    yield apply
    kubectl("delete", "crd", f"shirts.{group}", "--ignore-not-found", "--timeout=30s")


def test_kubectl_knows_a_custom_kind(shirts, spaced, kubectl):
    assert shirts() == f"shirt.{shirts.group}/a created\n"
    head, row = spaced("get", shirts.kind).splitlines()
    assert head.split() == ["NAME", "COLOR", "AGE"] and row.split()[:2] == ["a", "red"]
    assert "Its color." in kubectl("explain", f"{shirts.kind}.spec")
    assert "unchanged" in shirts()
    assert "configured" in shirts(color="blue")
    assert shirts("--server-side", "--force-conflicts", color="blue", size=4)
    spaced("scale", shirts.kind, "a", "--replicas=6")
    assert spaced.get(shirts.kind, "a")["spec"] == {"color": "blue", "size": 6}
    assert "blue" in spaced("get", shirts.kind, "--field-selector=spec.color=blue")
    assert "No resources" in spaced("get", shirts.kind, "--field-selector=spec.color=red")
    spaced("patch", shirts.kind, "a", "--subresource=status", "--type=merge", '-p={"status": {"size": 6}}')
    assert spaced.get(shirts.kind, "a")["status"] == {"size": 6}
    assert "Color:  blue" in spaced("describe", shirts.kind, "a")
    assert "shirt" in spaced("get", "all")


@pytest.mark.parametrize(
    "spec, why",
    [
        ({"color": "pink"}, 'Unsupported value: "pink": supported values: "red", "blue", "green"'),
        ({"size": "big"}, 'spec.size in body must be of type integer: "string"'),
        ({"size": 1}, "shirts do not shrink"),
        ({"colour": "red"}, 'unknown field "spec.colour"'),
    ],
)
def test_kubectl_is_told_what_is_wrong(shirts, spec, why):
    shirts()
    assert why in shirts(code=1, **spec)


def test_a_definition_goes_with_its_objects(shirts, spaced, kubectl):
    shirts()
    watch = spaced.start("get", shirts.kind, "--watch", "-o", "name")
    assert watch.stdout.readline() == f"shirt.{shirts.group}/a\n"
    kubectl("delete", "crd", shirts.kind, "--timeout=30s")
    watch.communicate(timeout=SECONDS)
    assert "the server doesn't have a resource type" in spaced("get", shirts.kind, code=1)


def test_kopf_runs_an_operator_of_a_custom_kind(shirts, spaced, operator):  # noqa: F811
    registry, gone = kopf.OperatorRegistry(), []

    @kopf.on.login(registry=registry)
    def login(**about):
        return kopf.login_with_kubeconfig(**about)

    @kopf.on.create(shirts.group, "v1", "shirts", registry=registry)
    def created(spec, patch, **_):
        patch.status["seen"] = spec["color"]

    @kopf.on.delete(shirts.group, "v1", "shirts", registry=registry)
    def deleted(name, **_):
        gone.append(name)

    operator(registry, spaced.namespace)
    shirts(color="green")
    spaced("wait", shirts.kind, "a", "--for=jsonpath={.status.seen}=green", f"--timeout={SECONDS}s")
    spaced("delete", shirts.kind, "a", f"--timeout={SECONDS}s")
    assert gone == ["a"]


def test_a_policy_refuses_what_it_is_written_against(spaced, kubectl):
    kubectl("apply", "-f", "-", input=POLICY % {"name": spaced.namespace})
    create = ["create", "deployment", "web", "--image=web:1"]
    spaced(*create, "--replicas=3")
    refused = spaced("scale", "deployment", "web", "--replicas=9")
    assert "scaled" in refused
    refused = spaced("patch", "deployment", "web", '-p={"spec": {"replicas": 8}}', code=1)
    assert "denied request: at most 3 replicas, not 8" in refused
    kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", spaced.namespace)
