import json
import ssl
import urllib.error
import urllib.request

import pytest

import pinnace


def who(serving, **headers):
    """Who headers make the caller, over HTTPS; the status code where they are refused."""
    url = f"{serving.url}/apis/authentication.k8s.io/v1/selfsubjectreviews"
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, b"{}", headers)
    context = ssl.create_default_context(cadata=serving.ca)
    try:
        with urllib.request.urlopen(request, context=context, timeout=30) as answer:
            return json.load(answer)["status"]["userInfo"]
    except urllib.error.HTTPError as error:
        return error.code


def review(engine, token):
    spec = {"token": token}
    made = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
    return engine.create(made)["status"]


def test_a_function_knows_tokens():
    ann = {"username": "ann", "uid": "1", "groups": ["dev"], "extra": {"example.com/shift": ["late"]}}

    def identify(spec):
        return {"a": ann, "b": "it has ended"}.get(spec["token"])

    def another(spec):
        return {"username": "cid"} if spec["token"] == "c" else None

    config = {"nodes": 0, "token_authenticators": [identify, another]}
    with pinnace.Engine(runtime="simulated", **config) as engine:
        with engine.serve("127.0.0.1:0") as serving:
            expected = {**ann, "groups": ["dev", "system:authenticated"]}
            assert who(serving, Authorization="Bearer a") == expected
            assert who(serving, Authorization="Bearer c")["username"] == "cid"
            assert who(serving, Authorization="Bearer b") == 401
            assert who(serving, Authorization="Bearer d") == 401
        assert review(engine, "a")["user"]["username"] == "ann"
        assert review(engine, "b")["error"] == "it has ended"
        assert "error" not in review(engine, "d")


def test_a_function_knows_requests():
    def identify(head):
        assert head["method"] == "POST" and head["address"].startswith("127.0.0.1:")
        assert head["requestURI"].endswith("/selfsubjectreviews")
        (name,) = head["headers"].get("x-user", [None])
        return name and {"username": name}

    with pinnace.Engine(runtime="simulated", nodes=0, authenticators=[identify]) as engine:
        with engine.serve("127.0.0.1:0") as serving:
            assert who(serving, X_User="ann")["username"] == "ann"
            assert who(serving) == 401


def broken(spec):
    raise ValueError("broken")


@pytest.mark.parametrize(
    "said, why",
    [
        ({}, "the user has no name"),
        ({"username": ""}, "the user has no name"),
        ({"username": 1}, "the user cannot be read: invalid type: integer `1`"),
        ({"username": "a", "groups": "b"}, "the user cannot be read: invalid type: string"),
        ({"username": "a", "group": []}, "the user cannot be read: unknown field `group`"),
        ({"username": "a", "extra": {"b": "c"}}, "the user cannot be read: invalid type: string"),
        ({"username": "\ud800"}, "the user cannot be read: "),
        ({"username": {1}}, "TypeError: Object of type set is not JSON serializable"),
        (True, "TypeError: expected a dict, a str or None, not bool"),
        (broken, "ValueError: broken"),
    ],
)
def test_what_cannot_be_is_refused_and_said(said, why):
    def identify(spec):
        return said(spec) if callable(said) else said

    with pinnace.Engine(runtime="simulated", nodes=0, token_authenticators=[identify]) as engine:
        with engine.serve("127.0.0.1:0") as serving:
            assert who(serving, Authorization="Bearer a") == 401
        status = review(engine, "a")
        assert not status.get("authenticated")
        assert status["error"].startswith(f'failed calling authenticator "identify": {why}')


def test_what_raises_is_logged(caplog):
    with pinnace.Engine(runtime="simulated", nodes=0, token_authenticators=[broken]) as engine:
        review(engine, "a")
    (record,) = caplog.records
    assert record.name == "pinnace.authenticator" and record.exc_info
