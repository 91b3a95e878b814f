"""Signatures: every Wycheproof vector for the algorithms that we accept, and each algorithm with a key of
ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from callgate.call import Refusal
from callgate.identity.jose import base64url, json_object
from callgate.identity.jwk import ALGORITHMS, parse_jwk
from callgate.identity.tokens import parse_token, verify_signature
from local_issuer import SigningKey, b64

VECTORS = json.loads(
    (Path(__file__).parent.parent / "data/identity/wycheproof-json-web-signature.json").read_text()
)


# RFC 7520's figure 20: "valid" though the key states another alg than the token, which RFC 7517 (4.4) does
# not permit and other vectors (338, 340) call invalid. Refused.
OTHER_ALG_THAN_THE_KEY_STATES = {346, 350}


def _accepted(group: dict[str, Any], test: dict[str, Any]) -> bool:
    try:
        token = parse_token(test["jws"])
        key = parse_jwk(group.get("public") or group["private"])
        verify_signature(token, key, ALGORITHMS)
    except (Refusal, ValueError):
        return False
    return True


def test_wycheproof_vectors_come_out_as_they_say() -> None:
    seen = {"valid": 0, "invalid": 0}
    for group in VECTORS["testGroups"]:
        algorithm = (group.get("public") or group["private"]).get("alg")
        for test in group["tests"]:
            # What we do not accept is refused whatever the vectors say: HMAC, and ES521, which no RFC names.
            expected = test["result"] == "valid" and algorithm in ALGORITHMS
            expected &= test["tcId"] not in OTHER_ALG_THAN_THE_KEY_STATES
            assert _accepted(group, test) == expected, f"tcId {test['tcId']}: {test['comment']}"
            seen[test["result"]] += 1
    assert seen == {"valid": 46, "invalid": 355}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_each_algorithm_verifies_its_own_signature_and_no_other(algorithm: str) -> None:
    key, other = SigningKey("k", algorithm), SigningKey("k", algorithm)
    token = parse_token(key.token({"sub": "x"}))
    verify_signature(token, parse_jwk(key.jwk()), [algorithm])
    with pytest.raises(Refusal, match="token-signature"):
        verify_signature(token, parse_jwk(other.jwk()), [algorithm])
    with pytest.raises(Refusal, match="token-algorithm"):
        verify_signature(token, parse_jwk(key.jwk()), ALGORITHMS - {algorithm})


@pytest.mark.parametrize("text", ["YQ==", "YQ=", "Y", "YR", "YQ\n", "Y Q", "YQ+", "ÿ", "YQ/"])
def test_base64url_has_one_spelling(text: str) -> None:
    assert base64url("YQ") == b"a"
    with pytest.raises(ValueError, match="base64url"):
        base64url(text)


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "1",
        "",
        "{",
        '{"a":1,"a":1}',
        '{"a":{"b":1,"b":2}}',
        '{"a":NaN}',
        '{"a":Infinity}',
        "{}{}",
        "\ufeff{}",
        '{"a":' * 20_000 + "1" + "}" * 20_000,
        "[" * 100_000,
    ],
)
def test_json_that_two_readers_could_read_differently_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the reasons differ, the refusal is what counts)
        json_object(text.encode())


def test_json_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        json_object(b'{"a":"\xff"}')
    assert json_object(b'{"a":1}') == {"a": 1}
    assert b64(b"\x00") == "AA"
