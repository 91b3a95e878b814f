"""TLS is opened exactly where a rule judges what is asked of a host; explain says what nearly matched."""

from __future__ import annotations

import pytest
from policy_calls import NOON, call_of

from callgate.policy import Moment, explain, identity_of, inspects, parse_rules


def rule(effect: str, body: str) -> str:
    return f'[[rule]]\nid = "r"\neffect = "{effect}"\n{body}\n'


@pytest.mark.parametrize(
    ("body", "inspected"),
    [
        ('action = "http:GET"\nresource = "https://api.example.com/v1/*"', True),
        ('operation = "http:*"\nresource = "https://*.example.com/*"', True),
        ('action = "http:GET"\nresource = "https://${principal.team}.example.com/*"', True),
        ('action = "http:GET"\nresource = { not = "https://other.example/*" }', True),
        ('action = "http:GET"', True),
        ('action = "http:GET"\nresource = "https://api.example.com.evil/*"', False),
        ('action = "http:GET"\nresource = "https://example.com/*"', False),
        ('action = "tunnel:Connect"\nresource = "api.example.com:443"', False),
        ('action = ["*:*", "*", "?ttp:*"]', False),
        ('operation = "*:*"', False),
    ],
)
@pytest.mark.parametrize("effect", ["allow", "deny"])
def test_a_host_is_inspected_if_a_rule_has_http_actions_for_it(
    effect: str, body: str, inspected: bool
) -> None:
    assert inspects(parse_rules({"a.toml": rule(effect, body)}), "api.example.com") is inspected


def test_explain_says_on_what_near_matches_failed() -> None:
    text = """
[[rule]]
id = "own"
effect = "allow"
action = "s3:*"
resource = "arn:aws:s3:::own/*"
principal = { repository = "acme/app" }
[[rule]]
id = "closed"
effect = "deny"
action = "s3:Get*"
region = "us-*"
[[rule]]
id = "elsewhere"
effect = "allow"
action = "sqs:*"
"""
    said = explain(
        parse_rules({"a.toml": text}),
        identity_of({"repository": "acme/other"}),
        call_of("s3:GetObject arn:aws:s3:::theirs/k"),
        Moment(NOON),
    )
    assert (said["effect"], said["code"]) == ("deny", "no-rule-allows")
    assert said["near"] == [
        {"rule": "closed", "effect": "deny", "failed": ["region"]},
        {"rule": "own", "effect": "allow", "failed": ["principal", "resource"]},
    ]
