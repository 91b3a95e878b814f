"""The gateway as a runner talks to it: `/callgate/…` at the proxy port, over TLS, directly (through no
proxy).
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from callgate.runner.errors import RunnerError

TIMEOUT = 10.0
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT = "urn:ietf:params:oauth:token-type:jwt"
_MAX_ANSWER = 4 * 1024 * 1024


class GatewayRefused(RunnerError):
    """The gateway answered with a refusal; `status` is its HTTP status, `code` its reason code."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(f"the gateway refused ({status} {code}): {detail}")
        self.status = status
        self.code = code


class Gateway:
    """One gateway. `ca` is the PEM text that its certificate is checked against, None for the system's
    authorities.
    """

    def __init__(self, url: str, ca: str | None = None, plaintext: bool = False) -> None:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise RunnerError(f"{url} is not a URL: use https://HOST:PORT") from None
        if parts.scheme not in ("https", "http") or not parts.hostname or parts.path not in ("", "/"):
            raise RunnerError(f"{url} is not a gateway's address: use https://HOST:PORT")
        self.secure = parts.scheme == "https"
        self.host = parts.hostname
        self.port = port or (443 if self.secure else 80)
        if not self.secure and self.host not in _LOOPBACK and not plaintext:
            raise RunnerError(
                f"{url} would show the token to the network: use https, or --plaintext if you trust it"
            )
        self.ca = ca
        self._context = self._trust(ca) if self.secure else None

    @property
    def url(self) -> str:
        """The address, without credentials."""
        return f"{'https' if self.secure else 'http'}://{self._authority}"

    @property
    def _authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def proxy_url(self, handle: str) -> str:
        """What HTTPS_PROXY must say in the session of `handle`."""
        return self.url.replace("://", f"://callgate:{quote(handle, safe='')}@")

    def pin(self, fingerprint: str) -> None:
        """Trust the CA that the gateway shows, if the SHA-256 of its DER (hex) is `fingerprint`."""
        unverified = ssl.create_default_context()
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        self._context = unverified if self.secure else None
        try:
            der = ssl.PEM_cert_to_DER_cert(self.ca_pem().strip())
        except ValueError:
            raise RunnerError("the gateway showed no CA certificate") from None
        if hashlib.sha256(der).hexdigest() != fingerprint.replace(":", "").strip().lower():
            raise RunnerError("the gateway's CA is not the one in CALLGATE_CA_SHA256")
        # From the bytes that were hashed: whatever else the answer held is not trusted.
        self.ca = ssl.DER_cert_to_PEM_cert(der)
        self._context = self._trust(self.ca) if self.secure else None

    def ca_pem(self) -> str:
        """The gateway's CA certificate."""
        return self.request("GET", "/callgate/ca.pem")[1].decode("ascii", "replace")

    def open_session(self, token: str, context: Mapping[str, Any]) -> dict[str, Any]:
        """Exchange a token for a session handle (RFC 8693)."""
        return self._post("/callgate/token", self._form(token, callgate_context=json.dumps(context)))

    def renew_session(self, handle: str, token: str) -> dict[str, Any]:
        """Extend a session with a fresh token."""
        return self._post("/callgate/renew", self._form(token), handle)

    def close_session(self, handle: str) -> None:
        """End a session."""
        self._post("/callgate/close", {}, handle)

    def refusals(self, handle: str) -> Any:
        """What the gateway refused in a session."""
        return self._json(self.request("GET", "/callgate/refusals", bearer=handle)[1]).get("refusals", [])

    def request(
        self, method: str, path: str, body: str | None = None, bearer: str | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request; the response and its body. Raises RunnerError, GatewayRefused for any
        status but 200.
        """
        connection = (
            http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT, context=self._context)
            if self._context
            else http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        )
        headers = {"Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read(_MAX_ANSWER)
        except ssl.SSLCertVerificationError as error:
            raise RunnerError(
                f"{self.url} is not trusted ({error.verify_message}): give its CA with --ca or CALLGATE_CA"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise RunnerError(f"{self.url} cannot be reached: {error or type(error).__name__}") from None
        finally:
            connection.close()
        if response.status != 200:
            said = self._json(answer, {})
            code = said.get("error") or said.get("reason") or response.reason
            raise GatewayRefused(
                response.status, str(code), str(said.get("error_description") or said.get("message") or "")
            )
        return response, answer

    def _post(self, path: str, form: Mapping[str, str], handle: str | None = None) -> dict[str, Any]:
        return self._json(self.request("POST", path, urlencode(form), handle)[1])

    @staticmethod
    def _form(token: str, **more: str) -> dict[str, str]:
        return {"grant_type": _GRANT, "subject_token": token, "subject_token_type": _JWT, **more}

    @staticmethod
    def _trust(ca: str | None) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cadata=ca)
        except (ssl.SSLError, ValueError):
            raise RunnerError("the CA of --ca or CALLGATE_CA is not a PEM certificate") from None

    @staticmethod
    def _json(body: bytes, otherwise: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            value = json.loads(body)
        except ValueError:
            value = None
        if isinstance(value, dict):
            return value
        if otherwise is not None:
            return otherwise
        raise RunnerError("the gateway's answer cannot be read")


def connect(url: str | None, ca: str | None, plaintext: bool, environ: Mapping[str, str]) -> Gateway:
    """The gateway that options and environment name. `ca` is a path; CALLGATE_CA a path or the PEM text
    itself.
    """
    address = url or environ.get("CALLGATE_GATEWAY")
    if not address:
        raise RunnerError("where is the gateway? Give --gateway https://HOST:PORT or set CALLGATE_GATEWAY")
    said = ca or environ.get("CALLGATE_CA")
    gateway = Gateway(address, _pem(said) if said else None, plaintext)
    if not said and environ.get("CALLGATE_CA_SHA256"):
        gateway.pin(environ["CALLGATE_CA_SHA256"])
    return gateway


def _pem(said: str) -> str:
    if "-----BEGIN CERTIFICATE-----" in said:
        return said
    try:
        with open(os.path.expanduser(said), encoding="ascii") as file:
            return file.read()
    except (OSError, ValueError) as error:
        raise RunnerError(f"the CA file {said} cannot be read: {error}") from None
