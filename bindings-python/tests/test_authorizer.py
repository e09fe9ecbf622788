import pytest
from conftest import config_map

import pinnace


def review(engine, user, **asked):
    spec = {"user": user, "groups": ["staff"], "resourceAttributes": asked}
    made = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
    return engine.create(made)["status"]


def test_a_function_says_who_may_do_what():
    def may(request):
        asked = request["resourceAttributes"]
        if request["user"] != "ann" or request["groups"] != ["staff"]:
            return None
        return asked["verb"] == "list" or "ann only lists"

    with pinnace.Engine(runtime="simulated", nodes=0, authorizers=[may]) as engine:
        assert review(engine, "ann", verb="list", resource="pods")["allowed"]
        refused = review(engine, "ann", verb="delete", resource="pods")
        assert (refused["allowed"], refused["reason"]) == (False, "ann only lists")
        assert not review(engine, "bob", verb="list", resource="pods")["allowed"]
        engine.create(config_map("a"))


@pytest.mark.parametrize("said", [None, False, 1, "no", {}])
def test_only_true_allows(said):
    with pinnace.Engine(runtime="simulated", nodes=0, authorizers=[lambda _: said]) as engine:
        assert not review(engine, "ann", verb="list", resource="pods")["allowed"]


def test_what_raises_allows_nothing():
    def broken(request):
        raise ValueError("broken")

    with pinnace.Engine(runtime="simulated", nodes=0, authorizers=[broken]) as engine:
        status = review(engine, "ann", verb="list", resource="pods")
        assert not status["allowed"]
        assert status["reason"] == "failed calling authorizer \"broken\": ValueError: broken"
