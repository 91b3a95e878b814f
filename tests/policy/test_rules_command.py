"""`callgate rules` as people and scripts call it."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from click.testing import CliRunner, Result
from policy_calls import NOON, call_of

from callgate.cli.rules import rules as command
from callgate.decision import Mode
from callgate.journal import Record
from callgate.ledger import Ledger, Signer
from callgate.policy import Moment, decide, identity_of, load_rules

SHIPPED = Path(__file__).parents[2] / "rules"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def rule_file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    return file


def test_good_rules_pass_the_check() -> None:
    result = run("check", "--strict", SHIPPED)
    assert result.exit_code == 0, result.output
    assert "0 warnings" in result.output


def test_a_broken_file_is_one_line_and_status_2(tmp_path: Path) -> None:
    file = rule_file(tmp_path, '[[rule]]\nid = "x"\neffect = "deny"\nacton = "s3:*"\n')
    result = run("check", file)
    assert result.exit_code == 2
    assert result.stderr == f"callgate: {file}:4: rule 'x': acton: unknown key; did you mean action?\n"
    found = json.loads(run("check", "--json", file).stdout)
    assert (found["errors"][0]["line"], found["errors"][0]["key"]) == (4, "acton")


@pytest.mark.parametrize(
    ("body", "warning"),
    [
        (
            'effect = "deny"\naction = "s3:GetObjct"',
            "there is no action s3:GetObjct.*did you mean s3:GetObject",
        ),
        ('effect = "deny"\naction = "s4:Get*"', "there is no action s4:Get"),
        ('effect = "deny"\naction = "s3:ListObjectsV2"', "it is an operation's name"),
        (
            'effect = "deny"\noperation = "s3:PutBuckeAcl"',
            "there is no operation s3:PutBuckeAcl.*s3:PutBucketAcl",
        ),
        (
            'effect = "deny"\naction = "rds:Delete*"\nresource = "arn:aws:rds:*:*:db:*"',
            r"rds:Delete\* is \d+ actions, and \d+ of them can act on such a resource: not ",
        ),
        (
            'effect = "deny"\naction = "rds:DeleteDBCluster"\nresource = "arn:aws:rds:*:*:db:*"',
            r"can never match rds:DeleteDBCluster: it acts on .*cluster",
        ),
        (
            'effect = "deny"\naction = "ec2:DescribeInstances"\nresource = "arn:aws:ec2:*:*:instance/*"',
            r"can never match ec2:DescribeInstances: it acts on no resource",
        ),
        (
            'effect = "deny"\naction = "s3:GetObject"\naccess = "write"',
            "access: can never match: the actions are read",
        ),
        (
            'effect = "deny"\naction = "s3:*"\nprincipal = { repositry = "x" }',
            "no issuer profile knows the claim repositry; did you mean repository",
        ),
        (
            'effect = "deny"\naction = "s3:*"\nresource = "arn:aws:s3:::${principal.repositry}/*"',
            "no issuer profile knows the claim repositry",
        ),
        (
            'effect = "deny"\noperation = "s3:PutBucketAcl"\nwhen = [{ path = \'$.Acl\', exists = true }]',
            r"\$\.Acl can never find anything: the request has no Acl; did you mean ACL",
        ),
        (
            'effect = "deny"\naction = "s3:PutBucketAcl"\n'
            "any = [[{ path = '$.AccessControlPolicy.Grants[*].Grante.URI', exists = true }]]",
            "the request has no Grante; did you mean Grantee",
        ),
        (
            'effect = "mask"\naction = "secretsmanager:GetSecretValue"\nresponse = \'$..SecretSting\'',
            "the response has no SecretSting; did you mean SecretString",
        ),
        (
            'effect = "deny"\naction = "s3:*"\nuntil = 2020-01-01',
            "can never match again: it ended on 2020-01-01",
        ),
        ('effect = "allow"\nmode = "observe"\naction = "s3:*"', "permits nothing"),
        (
            'effect = "allow"\naction = "s3:DeleteBucket"\nresource_account = "1"',
            "can never allow s3:DeleteBucket",
        ),
        ('effect = "allow"\naction = "tunnel:Connect"\nresource = "pypi.org"', "can never match a tunnel"),
        ('effect = "allow"\naction = "http:GET"\nresource = "pypi.org/*"', "can never match a URL"),
        ('effect = "allow"\naction = "http:GET"', "action: without resource, the TLS of every host"),
        (
            'effect = "allow"\naction = "tunnel:Connect"\nresource = "sts.eu-west-1.amazonaws.com:443"',
            "resource: can never match a tunnel: sts.eu-west-1.amazonaws.com is an API of AWS",
        ),
        (
            'effect = "deny"\naction = "s3:*"\naccount = ["11111111111"]',
            "account: '11111111111' is no account",
        ),
        (
            'effect = "deny"\naction = "s3:*"\nregion = "eu-wset-1"',
            "no region eu-wset-1; did you mean eu-west-1",
        ),
        (
            'effect = "allow"\naction = "s3:GetObject"\n'
            '[[rule]]\nid = "d"\neffect = "deny"\naction = "s3:Get*"',
            "never has a say: rule 'd' denies all that it matches",
        ),
    ],
)
def test_a_rule_that_cannot_mean_what_it_says_gets_a_warning(tmp_path: Path, body: str, warning: str) -> None:
    file = rule_file(tmp_path, f'[[rule]]\nid = "x"\n{body}\n')
    result = run("check", file)
    assert result.exit_code == 0, result.output
    found = json.loads(run("check", "--json", file).stdout)["warnings"]
    assert any(re.search(warning, f"{each['key']}: {each['message']}") for each in found), found
    assert all(each["line"] for each in found)
    assert run("check", "--strict", file).exit_code == 1


@pytest.mark.parametrize(
    "deny",
    [
        'action = "s3:GetObject"',
        'action = "s3:*"\nresource = "arn:aws:s3:::a/*"',
        'action = "s3:*"\nprincipal = { team = "a" }',
        'action = "s3:*"\nregion = "eu-*"',
        'action = "s3:*"\nmode = "observe"',
        "action = \"s3:*\"\nwhen = [{ path = '$.Bucket', exists = true }]",
        'action = "tunnel:*"',
    ],
)
def test_a_deny_that_leaves_something_shadows_nothing(tmp_path: Path, deny: str) -> None:
    text = '[[rule]]\nid = "x"\neffect = "allow"\naction = "s3:Get*"\n'
    file = rule_file(tmp_path, f'{text}[[rule]]\nid = "d"\neffect = "deny"\n{deny}\n')
    assert "never has a say" not in run("check", file).output


def test_cases_that_come_out_otherwise_are_status_1(tmp_path: Path) -> None:
    file = rule_file(tmp_path, '[[rule]]\nid = "x"\neffect = "deny"\naction = "s3:*"\n')
    case = '[[case]]\nname = "n"\nprincipal = {}\noperation = "s3:ListBuckets"\nexpect = "%s"\n'
    (tmp_path / "rules.cases.toml").write_text(case % "deny")
    assert run("test", file).exit_code == 0
    (tmp_path / "rules.cases.toml").write_text(case % "allow")
    result = run("test", tmp_path)
    assert result.exit_code == 1
    assert "rules.cases.toml:1: n" in result.output
    assert "expected allow, got deny" in result.output
    (tmp_path / "rules.cases.toml").write_text(case % "maybe")
    assert run("test", file).exit_code == 2


def test_rules_that_no_case_matches_are_named(tmp_path: Path) -> None:
    file = rule_file(tmp_path, '[[rule]]\nid = "lonely"\neffect = "deny"\naction = "sqs:*"\n')
    case = '[[case]]\nname = "n"\nprincipal = {}\noperation = "s3:ListBuckets"\nexpect = "deny"\n'
    (tmp_path / "rules.cases.toml").write_text(case)
    assert "no case matches: lonely" in run("test", file).output
    assert run("test", "--strict", file).exit_code == 1


def test_the_schema_accepts_the_shipped_rules_and_refuses_unknown_keys() -> None:
    schema = json.loads(run("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for file in SHIPPED.glob("*.toml"):
        if not file.name.endswith(".cases.toml"):
            validator.validate(tomllib.loads(file.read_text()))
    single = {"path": "$.X", "not": "a", "size": 1}
    loose = {
        "id": "x",
        "effect": "deny",
        "access": "read",
        "when": single,
        "between": {"days": "mon", "zone": "UTC"},
    }
    validator.validate({"rule": [loose]})
    bad = {"rule": [{"id": "x", "effect": "deny", "acton": "s3:*"}]}
    assert not validator.is_valid(bad)


JOBS = [
    ("repository=acme/app", "s3:GetObject arn:aws:s3:::b/k"),
    ("repository=acme/app", "iam:CreateUser arn:aws:iam::1:user/u"),
    ("repository=acme/app", "s3:DeleteBucket arn:aws:s3:::x-prod"),
    ("repository=acme/infra", "cloudtrail:StopLogging *"),
    ("repository=acme/infra", "cloudtrail:StopLogging *"),
    ("repository=acme/infra", "secretsmanager:GetSecretValue *"),
    ("repository=acme/infra", "tunnel:Connect paste.example:443"),
]


def body(number: int, mode: Mode) -> dict[str, Any]:
    """What the gateway records of one of the jobs, in `mode`."""
    claim, described = JOBS[number]
    who = identity_of({"issuer": "github", "subject": claim, **dict([claim.split("=")])})
    call = call_of(described)
    decision = decide(load_rules([SHIPPED]), who, call, Moment(NOON, mode=mode))
    return {
        "callId": f"call-{number}",
        "eventTime": "2026-11-24T12:00:00Z",
        "userIdentity": {"principalId": who.principal_id},
        "service": call.service,
        "eventName": call.operation,
        "resources": [{"action": need.action, "ARN": need.resource} for need in call.needs],
        "decision": dict(decision.summary()),
    }


def test_impact_after_observing_says_exactly_what_enforcing_refuses(tmp_path: Path) -> None:
    state = tmp_path / "state"
    signer = Signer.create(state / "keys" / "ledger.key", "callgate.test/log")

    async def observe() -> None:
        ledger = Ledger.open(state, signer=signer, origin="callgate.test/log")
        for number in range(len(JOBS)):
            record = Record("call.intent", body(number, "observe"), subject=f"call-{number}", step="intent")
            await ledger.append(record)
        await ledger.close()

    asyncio.run(observe())
    result = run("impact", "--ledger", state / "ledger.db", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    predicted = {
        (each["principalId"], each["would"], each["operation"]): each["count"]
        for each in found
        if each["would"] != "mask"
    }
    enforced: dict[tuple[str, str, str], int] = {}
    for number in range(len(JOBS)):
        done = body(number, "enforce")
        if (effect := done["decision"]["effect"]) != "allow":
            key = (done["userIdentity"]["principalId"], effect, f"{done['service']}:{done['eventName']}")
            enforced[key] = enforced.get(key, 0) + 1
    assert predicted == enforced
    assert len(enforced) == 4
    assert [each["example"]["callId"] for each in found if each["count"] == 2] == ["call-4"]
    assert [each["rules"] for each in found if each["would"] == "mask"] == [["secret-values"]]
    table = run("impact", "--ledger", state / "ledger.db").output
    assert "refused" in table
    assert "held" in table
    assert run("impact", "--ledger", state, "--since", "2999-01-01").output.startswith("No call")
    assert json.loads(run("impact", "--ledger", state, "--since", "1h", "--json").stdout) == found
    unreadable = run("impact", "--ledger", state, "--since", "yesterday")
    assert unreadable.exit_code == 2
    assert "'yesterday' is neither a time ago" in unreadable.stderr


def test_impact_without_a_ledger_is_status_2(tmp_path: Path) -> None:
    result = run("impact", "--ledger", tmp_path / "none.db")
    assert result.exit_code == 2
    assert "there is no ledger" in result.stderr


@pytest.mark.parametrize("name", ["check", "test", "schema", "impact"])
def test_help_shows_an_example(name: str) -> None:
    assert f"callgate rules {name}" in run(name, "--help").output
