"""Tokens, read and made by a library that others wrote; what is noted of who came with them."""

import http.server
import json
import time

import jwt
import pytest
from conftest import Kubectl, engine, https
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUED_TO = "pinnace"


def test_published_keys(spaced, kubectl):
    """Tokens of service accounts can be checked by everybody."""
    spaced("create", "serviceaccount", "robot")
    token = spaced("create", "token", "robot", "--audience=shop", "--duration=20m").strip()
    discovered = json.loads(kubectl("get", "--raw", "/.well-known/openid-configuration"))
    keys = jwt.PyJWKSet.from_json(kubectl("get", "--raw", "/openid/v1/jwks"))
    kid = jwt.get_unverified_header(token)["kid"]
    (key,) = [one for one in keys.keys if one.key_id == kid]
    assert key.algorithm_name in discovered["id_token_signing_alg_values_supported"]
    read = {"algorithms": [key.algorithm_name], "issuer": discovered["issuer"]}
    claims = jwt.decode(token, key, audience="shop", **read)
    assert claims["sub"] == f"system:serviceaccount:{spaced.namespace}:robot"
    assert claims["exp"] - claims["iat"] == 1200
    assert claims["kubernetes.io"]["serviceaccount"]["name"] == "robot"
    with pytest.raises(jwt.InvalidAudienceError):
        jwt.decode(token, key, audience="another", **read)


@pytest.fixture
def issuer(certificate):
    """An issuer with keys of two kinds; gives its URL and a function that signs claims."""
    private = {
        "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
        "ES256": ec.generate_private_key(ec.SECP256R1()),
    }
    public = [
        {**jwt.get_algorithm_by_name(name).to_jwk(key.public_key(), as_dict=True), "kid": name}
        for name, key in private.items()
    ]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            discovery = {"issuer": url, "jwks_uri": f"{url}/keys"}
            body = json.dumps({"keys": public} if self.path == "/keys" else discovery).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    def sign(algorithm, **claims):
        claims = {"iss": url, "aud": ISSUED_TO, "exp": int(time.time()) + 600, **claims}
        return jwt.encode(claims, private[algorithm], algorithm, headers={"kid": algorithm})

    with https(Handler, certificate) as url:
        yield url, sign


def test_issuer(kubectl_path, issuer, certificate, tmp_path):
    """Tokens of an issuer are taken, and what their bearers do is noted."""
    url, sign = issuer
    configuration, policy = tmp_path / "authentication.json", tmp_path / "policy.json"
    log = tmp_path / "audit.log"
    name = "claims.email_verified ? claims.email.split('@')[0] : ''"
    configuration.write_text(json.dumps({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
        "jwt": [{
            "issuer": {"url": url, "audiences": [ISSUED_TO],
                       "certificateAuthority": certificate[0].read_text()},
            "claimMappings": {"username": {"expression": name},
                              "groups": {"claim": "teams", "prefix": "team:"}},
            "userValidationRules": [{"expression": "!user.username.startsWith('system:')",
                                     "message": "it may not be of the system"}],
        }],
    }))
    policy.write_text(json.dumps({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}],
    }))
    flags = ["--runtime", "simulated", "--authentication-config", str(configuration)]
    flags += ["--audit-policy-file", str(policy), "--audit-log-path", str(log)]
    with engine(tmp_path / "kubeconfig", *flags) as kubeconfig:
        kubectl = Kubectl(kubectl_path, kubeconfig)
        kubectl("create", "clusterrolebinding", "readers", "--clusterrole=view", "--group=team:shop")
        # With an administrator's certificate beside it a token would not be looked at.
        kubectl("config", "unset", "users")
        for algorithm in ("RS256", "ES256"):
            token = sign(algorithm, email="jane@example.com", email_verified=True, teams=["shop"])
            assert "No resources found" in kubectl("get", "pods", f"--token={token}")
            assert "cannot create" in kubectl("create", "cm", "a", f"--token={token}", code=1)
        for claims in ({"aud": "another"}, {"exp": 1_000_000_000}, {"email": "system:admin@x.y"}):
            claims = {"email": "jane@example.com", "email_verified": True, **claims}
            said = kubectl("get", "pods", f"--token={sign('RS256', **claims)}", code=1)
            assert "Unauthorized" in said or "must be logged in" in said
    noted = [json.loads(line) for line in log.read_text().splitlines()]
    noted = [event for event in noted if event["stage"] == "ResponseComplete"]
    of_jane = [event for event in noted if event["user"].get("username") == "jane"]
    assert {(event["verb"], event["responseStatus"]["code"]) for event in of_jane} >= {
        ("list", 200), ("create", 403),
    }
    assert all("team:shop" in event["user"]["groups"] for event in of_jane)
