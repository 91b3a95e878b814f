"""Decisions per second: the shipped rules, and 10 rules beside 1,000.

    scripts/bench rules [--json]

Every figure is the mean over many passes of a mix of calls; the passes of the two sizes alternate, and the
ratio is taken pass by pass, so that a noisy machine disturbs both alike.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from callgate.call import Call, Need
from callgate.identity import Identity
from callgate.policy import Moment, RuleSet, decide, identity_of, load_rules, parse_rules

RULES = Path(__file__).parents[2] / "rules"
WHO = identity_of(
    {
        "issuer": "github",
        "subject": "repo:acme/infra:ref:refs/heads/main",
        "repository": "acme/infra",
        "repository_id": "1234",
        "ref": "refs/heads/main",
        "event_name": "push",
    }
)
MOMENT = Moment(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC), source_ip="10.1.2.3")
_SERVICES = ("s3", "ec2", "sqs", "sns", "rds", "iam", "kms", "ssm", "ecs", "eks", "logs", "events", "lambda")
_VERBS = ("Get", "Put", "List", "Describe", "Create", "Delete", "Update", "Tag")


_MET = """
[[rule]]
id = "own"
effect = "allow"
action = ["s3:*"]
resource = ["arn:aws:s3:::ci-artifacts", "arn:aws:s3:::ci-artifacts/${principal.repository}/*"]

[[rule]]
id = "read"
effect = "allow"
action = ["*:Get*", "*:List*", "*:Describe*"]

[[rule]]
id = "tables"
effect = "allow"
action = ["dynamodb:*"]
principal = { issuer = "github" }

[[rule]]
id = "public"
effect = "deny"
operation = "s3:PutBucketAcl"
when = [{ path = '$.ACL', like = "public-*" }]

[[rule]]
id = "secret"
effect = "mask"
action = "secretsmanager:GetSecretValue"
response = '$.SecretString'

[[rule]]
id = "person"
effect = "hold"
action = "rds:Delete*"
hold = { by = "oncall" }
"""


def call(operation: str, *needs: tuple[str, str], **parameters: object) -> Call:
    """A call of `operation` (`service:Operation`) with its needs."""
    service, name = operation.split(":")
    return Call(
        service=service,
        operation=name,
        candidates=((service, name),),
        protocol="json",
        region="eu-west-1",
        account="111111111111",
        parameters=parameters,
        needs=tuple(Need(action, resource, operation, access="write") for action, resource in needs),
    )


MIX = (
    call(
        "s3:GetObject",
        ("s3:GetObject", "arn:aws:s3:::ci-artifacts/acme/infra/x"),
        Bucket="ci-artifacts",
    ),
    call(
        "s3:PutObject",
        ("s3:PutObject", "arn:aws:s3:::ci-artifacts/acme/infra/x"),
        Bucket="ci-artifacts",
    ),
    call("s3:ListObjectsV2", ("s3:ListBucket", "arn:aws:s3:::ci-artifacts"), Bucket="ci-artifacts"),
    call("s3:DeleteBucket", ("s3:DeleteBucket", "arn:aws:s3:::ci-artifacts"), Bucket="ci-artifacts"),
    call("s3:PutBucketAcl", ("s3:PutBucketAcl", "arn:aws:s3:::ci-artifacts"), ACL="public-read"),
    call("secretsmanager:GetSecretValue", ("secretsmanager:GetSecretValue", "*"), SecretId="db"),
    call(
        "dynamodb:PutItem",
        ("dynamodb:PutItem", "arn:aws:dynamodb:eu-west-1:111111111111:table/t"),
        TableName="t",
    ),
    call("ec2:DescribeInstances", ("ec2:DescribeInstances", "*")),
    call("sts:GetCallerIdentity", ("sts:GetCallerIdentity", "*")),
    call("rds:DeleteDBInstance", ("rds:DeleteDBInstance", "arn:aws:rds:eu-west-1:111111111111:db:orders")),
)


def made_up(count: int) -> RuleSet:
    """`count` rules of every effect over many services, those that the mix meets always among them."""
    texts = [_MET]
    effects = ("allow", "deny", "allow", "hold")
    for number in range(count - _MET.count("[[rule]]")):
        service, verb = _SERVICES[number % len(_SERVICES)], _VERBS[number % len(_VERBS)]
        effect = effects[number % len(effects)]
        texts.append(f"""
[[rule]]
id = "made-up-{number}"
effect = "{effect}"
action = ["{service}:{verb}Thing{number}*"]
resource = "arn:aws:{service}:*:*:thing/{number}/*"
principal = {{ repository = "acme/repo-{number}" }}
{'hold = { by = "oncall" }' if effect == "hold" else ""}
""")
    return parse_rules({"made-up.toml": "".join(texts)})


def one_each(count: int) -> RuleSet:
    """`count` rules that all name the same action: a rule for each repository, as generators write them."""
    return parse_rules(
        {
            "one-each.toml": "".join(
                f'[[rule]]\nid = "repo-{number}"\neffect = "allow"\naction = "s3:*"\n'
                f'principal = {{ repository = "acme/repo-{number}" }}\n'
                f'resource = "arn:aws:s3:::ci-artifacts/acme/repo-{number}/*"\n'
                for number in range(count)
            )
        }
    )


def microseconds(rules: RuleSet, calls: Sequence[Call], who: Identity = WHO, passes: int = 200) -> float:
    """The mean time of one decision."""
    for each in calls:
        decide(rules, who, each, MOMENT)
    start = time.perf_counter()
    for _ in range(passes):
        for each in calls:
            decide(rules, who, each, MOMENT)
    return (time.perf_counter() - start) / passes / len(calls) * 1e6


def compare(
    small: RuleSet, large: RuleSet, calls: Sequence[Call], rounds: int = 15
) -> tuple[float, float, float]:
    """Mean of the small set, mean of the large one, and the median of their ratios round by round."""
    pairs = [(microseconds(small, calls), microseconds(large, calls)) for _ in range(rounds)]
    ratio = statistics.median(large / small for small, large in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratio


def main() -> int:
    """Prints the table; exit status 1 if a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shipped = load_rules([RULES])
    mean = statistics.median(microseconds(shipped, MIX) for _ in range(15))
    ten, thousand, ratio = compare(made_up(10), made_up(1000), MIX)
    few, many, same = compare(one_each(10), one_each(1000), MIX[:2])
    started = time.perf_counter()
    made_up(1000)
    load = time.perf_counter() - started
    figures = {
        "shipped_rules": len(shipped),
        "shipped_us": round(mean, 1),
        "ten_us": round(ten, 1),
        "thousand_us": round(thousand, 1),
        "ratio": round(ratio, 2),
        "same_action_ten_us": round(few, 1),
        "same_action_thousand_us": round(many, 1),
        "same_action_ratio": round(same, 2),
        "load_thousand_s": round(load, 2),
    }
    good = mean <= 30 and ratio <= 1.5
    if options.json:
        print(json.dumps(figures))
    else:
        print(f"decision on the {len(shipped)} shipped rules   {mean:6.1f} µs   (bound 30)")
        print(f"10 rules                            {ten:6.1f} µs")
        print(f"1,000 rules                         {thousand:6.1f} µs   ratio {ratio:.2f} (bound 1.5)")
        print(f"10 rules, one a repository          {few:6.1f} µs")
        print(f"1,000 rules, one a repository       {many:6.1f} µs   ratio {same:.2f}")
        print(f"1,000 rules load in {load:.2f} s")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
