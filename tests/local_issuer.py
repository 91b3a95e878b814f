"""An OpenID Connect issuer for tests: real keys, real tokens, discovery and keys served over HTTPS on the
loopback.
"""

from __future__ import annotations

import base64
import datetime
import http.server
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


def b64(octets: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def compact(value: Any) -> str:
    """A JSON value as a part of a token."""
    return b64(json.dumps(value, separators=(",", ":")).encode())


class SigningKey:
    """A private key with its `kid` and algorithm."""

    def __init__(self, kid: str, algorithm: str = "RS256", private: PrivateKey | None = None) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.private = private or _generate(algorithm)

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public key as a JWK; `members` replace its own, None removes one."""
        shape = jwt.get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        shape.pop("key_ops", None)
        jwk = {**shape, "kid": self.kid, "alg": self.algorithm, "use": "sig", **members}
        return {name: value for name, value in jwk.items() if value is not None}

    def sign(self, header: Mapping[str, Any] | str, payload: Mapping[str, Any] | str) -> str:
        """A token of any header and payload (mapping, or the encoded part itself), signed with this key's
        algorithm.
        """
        parts = [part if isinstance(part, str) else compact(part) for part in (header, payload)]
        signed = ".".join(parts)
        signature = jwt.get_algorithm_by_name(self.algorithm).sign(signed.encode(), self.private)
        return f"{signed}.{b64(signature)}"

    def token(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token with a usual header; `header` replaces members, None removes one."""
        members = {"typ": "JWT", "alg": self.algorithm, "kid": self.kid, **header}
        return self.sign({name: value for name, value in members.items() if value is not None}, claims)


def _generate(algorithm: str) -> PrivateKey:
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "ES512":
            return ec.generate_private_key(ec.SECP521R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(65537, 2048)


def jwks(*keys: SigningKey | Mapping[str, Any]) -> bytes:
    """A key set."""
    return json.dumps({"keys": [k.jwk() if isinstance(k, SigningKey) else dict(k) for k in keys]}).encode()


def times(life: int = 300, now: float | None = None) -> dict[str, int]:
    """`iat`, `nbf` and `exp` of a token issued now."""
    at = int(time.time() if now is None else now)
    return {"iat": at, "nbf": at, "exp": at + life}


class LocalIssuer:
    """Serves `/.well-known/openid-configuration` and `/jwks` for `url`; `hits` counts requests by path.

    `answers` replaces what a path answers: bytes for a 200, or a function of the request handler.
    """

    def __init__(
        self, server: http.server.ThreadingHTTPServer, scheme: str, keys: Sequence[SigningKey]
    ) -> None:
        self.url = f"{scheme}://localhost:{server.server_address[1]}"
        self.keys = list(keys)
        self.hits: dict[str, int] = {}
        self.answers: dict[str, bytes | Answer] = {}

    def serve(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Answer one GET."""
        self.hits[handler.path] = self.hits.get(handler.path, 0) + 1
        usual = {
            "/.well-known/openid-configuration": lambda: json.dumps(
                {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"}
            ).encode(),
            "/jwks": lambda: jwks(*self.keys),
        }
        answer = self.answers.get(handler.path) or usual[handler.path]()
        if callable(answer):
            answer(handler)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)


@contextmanager
def local_issuer(folder: Path | None, *keys: SigningKey) -> Iterator[LocalIssuer]:
    """A running issuer: over HTTPS with a certificate of its own (`folder`/ca.pem), or HTTP where there is no
    folder.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.serve(self)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # clients that hang up are part of the tests

    server = Server(("127.0.0.1", 0), Handler)
    if folder is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(folder))
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    issuer = LocalIssuer(server, "https" if folder is not None else "http", keys)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _certificate(folder: Path, begins: float = -3600, ends: float = 86_400) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(seconds=begins))
        .not_valid_after(now + datetime.timedelta(seconds=ends))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "ca.pem").write_bytes(pem)
    both = folder / "issuer.pem"
    both.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + pem
    )
    both.chmod(0o600)
    return both


def github_claims(now: float | None = None, **claims: Any) -> dict[str, Any]:
    """The claims of a GitHub Actions token as they are; `claims` replace members, None removes one."""
    usual = {
        "jti": "example-id",
        "sub": "repo:acme/infra:environment:production",
        "aud": "callgate",
        "environment": "production",
        "ref": "refs/heads/main",
        "sha": "c5a92d2c4b1a5e5c3a9b6c1b2a7d3c4e5f607182",
        "repository": "acme/infra",
        "repository_owner": "acme",
        "actor_id": "12",
        "repository_visibility": "private",
        "repository_id": "74",
        "repository_owner_id": "65",
        "run_id": "500100",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor": "octocat",
        "workflow": "deploy",
        "head_ref": "",
        "base_ref": "",
        "event_name": "workflow_dispatch",
        "ref_type": "branch",
        "ref_protected": "true",
        "job_workflow_ref": "acme/automation/.github/workflows/oidc.yml@refs/heads/main",
        "job_workflow_sha": "c5a92d2c4b1a5e5c3a9b6c1b2a7d3c4e5f607182",
        "workflow_ref": "acme/infra/.github/workflows/deploy.yml@refs/heads/main",
        "workflow_sha": "c5a92d2c4b1a5e5c3a9b6c1b2a7d3c4e5f607182",
        "iss": "https://token.actions.githubusercontent.com",
        **times(now=now),
        **claims,
    }
    return {name: value for name, value in usual.items() if value is not None}
