"""A configuration that could let in more than it says is refused, with the key that is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from callgate.identity import IdentitySettings

GITHUB = {"name": "github", "profile": "github", "audience": "callgate"}
OWN = {"name": "own", "url": "https://own.example", "audience": "callgate"}


def read(*issuers: dict[str, Any], **settings: Any) -> IdentitySettings:
    return IdentitySettings.model_validate({"issuer": list(issuers), **settings})


def test_a_profile_brings_its_defaults() -> None:
    github, own = read(GITHUB, OWN).issuers
    assert github.url == "https://token.actions.githubusercontent.com"
    assert (github.algorithms, github.max_token_life) == (("RS256",), 900)
    assert (own.algorithms, own.max_token_life) == (("RS256",), 3600)
    enterprise = {"url": "https://ghes.example/_services/token", "max_token_life": "5m"}
    assert read(GITHUB | enterprise).issuers[0].max_token_life == 300


@pytest.mark.parametrize(
    ("issuer", "message"),
    [
        (OWN | {"url": "http://own.example"}, "must be https"),
        (OWN | {"url": "http://127.0.0.1:1"}, "must be https"),
        (OWN | {"url": "http://own.example", "insecure_loopback": True}, "must be https"),
        (OWN | {"url": "http://127.0.0.1.evil.example", "insecure_loopback": True}, "must be https"),
        (OWN | {"url": "http://localhost@evil.example", "insecure_loopback": True}, "without user"),
        (OWN | {"url": "ftp://own.example"}, "must be https"),
        (OWN | {"url": "own.example"}, "absolute URL"),
        (OWN | {"url": "https://own.example?x=1"}, "without user, query"),
        (OWN | {"url": "https://own.example:port"}, "not a URL"),
        (OWN | {"url": "https://own.example\n"}, "absolute URL"),
        ({"name": "own", "audience": "callgate"}, "url"),
        ({"name": "own", "audience": "callgate", "keys_file": "keys.json"}, "url"),
        (OWN | {"jwks_url": "http://own.example/keys"}, "jwks_url: must be https"),
        (OWN | {"jwks_url": "https://own.example/keys", "keys_file": "k"}, "exclude each other"),
        (OWN | {"algorithms": ["HS256"]}, "algorithms"),
        (OWN | {"algorithms": ["none"]}, "algorithms"),
        (OWN | {"algorithms": []}, "algorithms"),
        (OWN | {"audience": ""}, "audience"),
        ({"name": "own", "url": "https://own.example"}, "audience"),
        (OWN | {"name": "Own"}, "name"),
        (OWN | {"name": "own\n"}, "name"),
        (OWN | {"name": "own:x"}, "name"),
        (OWN | {"profile": "jenkins"}, "unknown profile"),
        (OWN | {"profile": "profile"}, "unknown profile"),
        (OWN | {"profile": ["github"]}, "profile"),
        (OWN | {"unknown": 1}, "unknown"),
        (OWN | {"allow": ["pull_request_target"]}, "means nothing to profile generic"),
        (GITHUB | {"allow": ["everything"]}, "everything means nothing"),
        (OWN | {"require": {"team": ["x"]}}, "not a claim of this issuer"),
        (OWN | {"require": {"sub": []}}, "empty list"),
        (OWN | {"require": {"sub": "x"}}, "require"),
        (OWN | {"claims": {"sub": "sub"}}, "the name is taken"),
        (OWN | {"claims": {"exp": "x"}}, "the name is taken"),
        (GITHUB | {"claims": {"repository": "evil"}}, "the name is taken"),
        (OWN | {"claims": {"a": "a"}, "optional_claims": {"a": "b"}}, "the name is taken"),
        (OWN | {"claims": {"A B": "a"}}, "claims"),
        (OWN | {"claims": {"a": ""}}, "claims"),
        (OWN | {"claims": {"a": []}}, "claims"),
        (OWN | {"principal": "fixed"}, "principal"),
        (OWN | {"principal": "${team}"}, "principal"),
        (OWN | {"optional_claims": {"team": "team"}, "principal": "${team}"}, "principal"),
        (OWN | {"claims": {"a": "a", "b": "b"}, "principal": "${a}${b}"}, "colon"),
        (OWN | {"claims": {"a": "a", "b": "b"}, "principal": "${a}/${b}"}, "colon"),
        (GITHUB | {"principal": "${sub}"}, "only profile generic"),
        (OWN | {"max_token_life": 300}, "duration"),
        (OWN | {"max_token_life": "0s"}, "max_token_life"),
    ],
)
def test_an_issuer_that_could_be_misread_is_refused(issuer: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        read(issuer)


def test_two_issuers_of_one_name_or_url_are_refused() -> None:
    with pytest.raises(ValidationError, match="two have the name own"):
        read(OWN, OWN | {"url": "https://other.example"})
    with pytest.raises(ValidationError, match=r"two have the url https://own\.example"):
        read(OWN, OWN | {"name": "other"})


def test_settings_outside_their_range_are_refused() -> None:
    for wrong in ({"max_sessions": 0}, {"second_address": "ignore"}, {"session_cap": "1"}, {"leeway": "1h"}):
        with pytest.raises(ValidationError):
            read(**wrong)


@pytest.mark.parametrize(
    ("issuer", "is_open"),
    [
        (GITHUB, True),
        (GITHUB | {"require": {"repository_owner_id": ["65"]}}, False),
        (GITHUB | {"url": "https://ghes.example/_services/token"}, False),
        (GITHUB | {"keys_file": "keys.json"}, False),
        (OWN, False),
    ],
)
def test_a_shared_issuer_of_which_nothing_is_required_is_open_to_everybody(
    issuer: dict[str, Any], is_open: bool
) -> None:
    assert read(issuer).issuers[0].is_open is is_open
