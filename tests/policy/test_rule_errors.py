"""What cannot load says so in one line: file, line, rule, key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from callgate.policy import RuleError, load_rules, parse_rules
from callgate.policy.errors import line_of

GOOD = """\
[sets]
prod = ["111111111111"]

[[rule]]
id = "ask"
effect = "hold"
action = [
    "rds:Delete*",
]
resource_account = "@prod"
hold = { by = ["oncall"], within = "15m" }

[[rule]]
id = "own"
effect = "allow"
action = "s3:*"
when = [{ path = '$.Bucket', like = "own-*" }]

[[rule]]
id = "masked"
effect = "mask"
action = "secretsmanager:GetSecretValue"
response = '$.SecretString'

[[exemption]]
rule = "ask"
principal = { repository = "acme/cleaner" }
owner = "platform"
until = 2027-01-31
"""

ERRORS = [
    ('effect = "hold"', 'effect = "holds"', r"6: rule 'ask': effect: is 'holds'; it can be 'allow', 'deny'"),
    (
        "resource_account",
        "resource_acount",
        r"10: rule 'ask': resource_acount: unknown key; did you mean resource_",
    ),
    (
        '"@prod"',
        '"@prd"',
        r"10: rule 'ask': resource_account: there is no set '@prd'; did you mean '@prod'\?",
    ),
    ('"rds:Delete*",\n', "", r"7: rule 'ask': action: is empty"),
    ('"rds:Delete*"', '""', r"7: rule 'ask': action: holds an empty text"),
    ('"rds:Delete*"', "5", r"7: rule 'ask': action: wants text in quotes"),
    ('"rds:Delete*"', '"Delete*"', r"7: rule 'ask': action: 'Delete\*' is not of the form service:Name"),
    ('by = ["oncall"], ', "", r"11: rule 'ask': hold\.by: is missing"),
    ('within = "15m"', "within = 15", r"11: rule 'ask': hold\.within: a duration is a string"),
    ('within = "15m"', "count = 0", r"11: rule 'ask': hold\.count: .*greater than or equal to 1"),
    ('hold = { by = ["oncall"], within = "15m" }\n', "", r"4: rule 'ask': a hold says who decides"),
    ('id = "own"\n', "", r"13: rule 'number 2': id: is missing"),
    ('id = "own"', 'id = "ask"', r"14: rule 'ask': id: is taken by rules\.toml:5"),
    ('id = "own"', 'id = "own\\n"', r"14: rule 'own\\n': id: wants letters"),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\noperation = "s3:*"\n',
        r"13: rule 'own': names action and operation",
    ),
    ('action = "s3:*"\n', "", r"13: rule 'own': an allow names action, operation or access"),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nhold = { by = "x" }\n',
        r"13: rule 'own': hold belongs to a rule with",
    ),
    (
        'action = "s3:*"\n',
        "action = \"s3:*\"\nresponse = '$.x'\n",
        r"13: rule 'own': response belongs to a rule with",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\naccess = "reads"\n',
        r"17: rule 'own': access\[0\]: is 'reads'; it can be",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nauth = "signd"\n',
        r"17: rule 'own': auth: 'signd' is none of signed",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nsource = "10.0.0.1/8"\n',
        r"17: rule 'own': source: 10\.0\.0\.1/8 has host",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nresource = "${claim.x}"\n',
        r"17: rule 'own': resource: there is no variable",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nresource = "${principal.x"\n',
        r"17: rule 'own': resource: .*not closed",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nprincipal = { a = "${principal.x}" }\n',
        r"17: rule 'own': principal\.a: a var",
    ),
    ('action = "s3:*"\n', 'action = "s3:*"\nprincipal = {}\n', r"17: rule 'own': principal: is empty"),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nregion = { no = "x" }\n',
        r"17: rule 'own': region: is text, a list of texts",
    ),
    ('action = "s3:*"\n', 'action = "s3:*"\nuntil = "2027-01-01"\n', r"17: rule 'own': until: wants a date"),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nuntil = 2027-01-01T10:00:00\n',
        r"17: rule 'own': until: a time needs its",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nfrom = 2027-01-02\nuntil = 2027-01-01\n',
        r"13: rule 'own': from is later",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nbetween = { days = "mon" }\n',
        r"17: rule 'own': between\[0\]\.zone: is missing",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nbetween = { days = "mo", zone = "UTC" }\n',
        r"17: rule 'own': between\[0\]\.days: 'mo' is no day",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nbetween = { hours = "8-18", zone = "UTC" }\n',
        r"17: rule 'own': between\[0\]\.hours: wants two times of day",
    ),
    (
        'action = "s3:*"\n',
        'action = "s3:*"\nbetween = { days = "mon", zone = "Mars/Base" }\n',
        r"17: rule 'own': between\[0\]\.zone: there is no time zone 'Mars/Base'",
    ),
    ('like = "own-*"', 'lke = "own-*"', r"17: rule 'own': when\[0\]\.lke: unknown key; did you mean like\?"),
    (', like = "own-*"', "", r"17: rule 'own': when\[0\]: tests nothing"),
    (
        'like = "own-*"',
        'missing = true, like = "x"',
        r"17: rule 'own': when\[0\]: wants the path to be missing",
    ),
    (
        'like = "own-*"',
        "exists = true, missing = true",
        r"17: rule 'own': when\[0\]: names both exists and missing",
    ),
    ('like = "own-*"', "not = {}", r"17: rule 'own': when\[0\]: not is empty"),
    ('like = "own-*"', "greater = true", r"17: rule 'own': when\[0\]\.greater: wants a number"),
    ('like = "own-*"', "greater = nan", r"17: rule 'own': when\[0\]\.greater: wants a number"),
    ('like = "own-*"', "size = {}", r"17: rule 'own': when\[0\]\.size: names none of"),
    ('like = "own-*"', "in = []", r"17: rule 'own': when\[0\]\.in: wants a list"),
    ('like = "own-*"', 'cidr = "10.0.0.0/33"', r"17: rule 'own': when\[0\]\.cidr: .*10\.0\.0\.0/33"),
    ('like = "own-*"', 'like = "@none"', r"17: rule 'own': when\[0\]\.like: there is no set '@none'"),
    ("'$.Bucket'", "'$.[Bucket'", r"17: rule 'own': when\[0\]\.path: '\$\.\[Bucket' is not a JSONPath"),
    ("'$.SecretString'", "'$.a =~ b'", r"23: rule 'masked': response: "),
    ("response = '$.SecretString'\n", "", r"19: rule 'masked': a mask says what to mask"),
    (
        "response = '$.SecretString'\n",
        "sensitive = true\ninside = '$.a'\n",
        r"19: rule 'masked': inside goes on from",
    ),
    ("response =", 'how = "stars"\nresponse =', r"23: rule 'masked': how: is 'stars'; it can be 'fixed'"),
    ('rule = "ask"', 'rule = "ak"', r"26: exemption\[0\]\.rule: there is no rule 'ak'; did you mean 'ask'\?"),
    ('rule = "ask"', 'rule = "own"', r"26: exemption\[0\]\.rule: the effect of 'own' is allow"),
    ('owner = "platform"\n', "", r"25: exemption\[0\]\.owner: is missing"),
    ("until = 2027-01-31\n", "", r"25: exemption\[0\]\.until: is missing"),
    ('prod = ["111111111111"]', "prod = []", r"2: sets\.prod: is empty"),
    ('prod = ["111111111111"]', 'prod = ["@prod"]', r"2: sets\.prod: '@prod': a set cannot hold another"),
    ("[[exemption]]", "[[exemptoin]]", r"25: exemptoin: unknown key; did you mean exemption\?"),
    ("[[exemption]]", "[[rule]", r"25: is not TOML"),
    ('"rds:Delete*",\n]', '"rds:Delete*",\n', r"10: is not TOML"),
    (GOOD, '[[rule]]\nid = "x"\neffect = "deny"\nreason = "y"\n', r"1: rule 'x': matches nothing"),
    (GOOD, "rule = 5\n", r"1: rule: "),
]


def test_the_good_file_loads() -> None:
    assert len(parse_rules({"rules.toml": GOOD})) == 3


@pytest.mark.parametrize(("good", "bad", "message"), ERRORS, ids=[message for *_, message in ERRORS])
def test_a_bad_file_names_line_rule_and_key(good: str, bad: str, message: str) -> None:
    assert good in GOOD
    with pytest.raises(RuleError) as caught:
        parse_rules({"rules.toml": GOOD.replace(good, bad, 1)})
    assert re.match(rf"rules\.toml:{message}", str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_errors_are_told_at_once() -> None:
    with pytest.raises(RuleError) as caught:
        parse_rules({"a.toml": GOOD.replace("'$.Bucket'", "'$.['").replace('"@prod"', '"@x"')})
    assert [error.rule for error in (caught.value, *caught.value.others)] == ["ask", "own"]


def test_ids_and_sets_are_unique_across_files() -> None:
    with pytest.raises(RuleError, match=r"b\.toml:2: sets\.prod: is defined in two files") as caught:
        parse_rules({"a.toml": GOOD, "b.toml": GOOD})
    assert any("rule 'ask': id: is taken by a.toml:5" in str(error) for error in caught.value.others)


def test_folders_are_read_without_their_cases(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(GOOD)
    (tmp_path / "a.cases.toml").write_text("nonsense")
    (tmp_path / "notes.txt").write_text("nonsense")
    assert len(load_rules([tmp_path])) == 3


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_what_cannot_be_read_is_an_error(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.toml"
    if content:
        file.write_bytes(content)
    with pytest.raises(RuleError, match=r"a\.toml: cannot be read"):
        load_rules([file])


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="holds no rule file"):
        load_rules([tmp_path])


def test_the_digest_is_of_what_rules_say() -> None:
    digest = parse_rules({"a.toml": GOOD}).digest
    assert parse_rules({"b.toml": "# a comment\n" + GOOD}).digest == digest
    own = GOOD[GOOD.index('[[rule]]\nid = "own"') : GOOD.index('[[rule]]\nid = "masked"')]
    assert parse_rules({"b.toml": own, "a.toml": GOOD.replace(own, "")}).digest == digest
    assert parse_rules({"a.toml": GOOD.replace("own-*", "own*")}).digest != digest
    assert parse_rules({"a.toml": GOOD.replace("111111111111", "111111111112")}).digest != digest
    assert parse_rules({"a.toml": GOOD.replace("2027-01-31", "2027-02-01")}).digest != digest


def test_lines_are_found_through_multi_line_values() -> None:
    text = 'a = """\nb = 1\n"""\n\n# note\nb = [\n  1,\n\n  2,\n]\n[[c]]\nd = 1\n[[c]]\n\n\ne.f = 2'
    places = [["a"], ["b"], ["c", 0], ["c", 0, "d"], ["c", 1], ["c", 1, "e", "f"], ["c", 1, "zz"], ["z"]]
    assert [line_of(text, place) for place in places] == [1, 6, 11, 12, 13, 16, 13, None]
