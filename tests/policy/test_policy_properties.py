"""What must hold for any rules, call and principal."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_calls import NOON

from callgate.call import Call, Need
from callgate.policy import Moment, decide, identity_of, parse_rules

RANK = {"deny": 0, "hold": 1, "allow": 2}
CLAIMS = ("repository", "team", "environment")
VALUES = ("a", "b", "a*", "")
ACTIONS = ("s3:GetObject", "s3:GetObject", "s3:PutObject", "tunnel:Connect")
RESOURCES = ("arn:aws:s3:::a/k", "arn:aws:s3:::b/k", "arn:aws:s3:::*/k", "arn:aws:s3:::a/*", "*", "a:443")


def quoted(words: Sequence[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"


def match(words: st.SearchStrategy[list[str]]) -> st.SearchStrategy[str]:
    """Mostly one of the words, sometimes none of them."""
    return st.tuples(words, st.sampled_from([False, False, True])).map(
        lambda drawn: f"{{ not = {quoted(drawn[0])} }}" if drawn[1] else quoted(drawn[0])
    )


def some(*words: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(words), min_size=1, max_size=2, unique=True)


names = some("s3:GetObject", "s3:Get*", "s3:*", "*", "tunnel:Connect")
resources = some(
    "arn:aws:s3:::a/*", "arn:aws:s3:::${principal.team}/*", "arn:aws:s3:::?/k", "*", "a:*", "arn:aws:s3:::b*"
)
values = st.lists(st.sampled_from(["a", "b", "?", "*"]), min_size=1, max_size=2, unique=True)
conditions = st.sampled_from(
    [
        "when = [{ path = '$.X', equals = 'a' }]",
        "when = [{ path = '$.X', like = '${principal.team}*' }]",
        "when = [{ path = '$.X', not = ['a'] }]",
        "when = [{ path = '$.X', missing = true }]",
        "when = [{ path = '$.X', inside = '$.p', equals = 1 }]",
        "any = [[{ path = '$.X', greater = 1 }], [{ path = '$.Y', exists = true }]]",
    ]
)


@st.composite
def rule(draw: st.DrawFn, effect: str | None = None) -> str:
    effect = effect or draw(st.sampled_from(["allow", "deny", "hold", "mask"]))
    lines = [
        f'effect = "{effect}"',
        f"{draw(st.sampled_from(['action', 'operation']))} = {quoted(draw(names))}",
    ]
    if draw(st.integers(0, 3)) == 0:
        lines.append(f"resource = {draw(match(resources))}")
    claims = draw(st.lists(st.sampled_from(CLAIMS), max_size=1))
    lines += [f"principal.{claim} = {draw(match(values))}" for claim in claims]
    if draw(st.integers(0, 5)) == 0:
        lines.append(draw(conditions))
    if draw(st.integers(0, 9)) == 0:
        lines.append(f"account = {draw(match(some('1', '2')))}")
    if draw(st.integers(0, 9)) == 0:
        lines.append(f'mode = "{draw(st.sampled_from(["enforce", "observe"]))}"')
    if effect == "hold":
        lines.append('hold = { by = "oncall" }')
    if effect == "mask":
        lines.append("response = '$..Secret'")
    return "\n".join(lines)


def written(rules: Sequence[str], more: str = "") -> str:
    return "".join(f'[[rule]]\nid = "r{n}"\n{text}\n' for n, text in enumerate(rules)) + more


rule_lists = st.lists(rule(), min_size=1, max_size=4)
claims = st.fixed_dictionaries({}, optional={name: st.sampled_from(VALUES) for name in CLAIMS})
parameters: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["X", "Y"]),
    st.sampled_from(["a", "b", 1, 5, True, ["a"], '{"p": 1}', "{", b"\xff"]),
    max_size=2,
)
needs = st.builds(
    Need,
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    st.sampled_from(ACTIONS),
    st.booleans(),
    st.sampled_from(["read", "write", None]),
)


@st.composite
def calls(draw: st.DrawFn) -> Call:
    return Call(
        service="s3",
        operation="GetObject",
        candidates=(("s3", "GetObject"),),
        protocol="json",
        region=draw(st.sampled_from(["eu-west-1", None])),
        account=draw(st.sampled_from(["1", "2", None])),
        auth=draw(st.sampled_from(["sigv4", "sigv4", "sigv4", "presigned"])),
        parameters=draw(parameters),
        needs=tuple(draw(st.lists(needs, min_size=1, max_size=2))),
    )


modes = st.sampled_from(["enforce", "observe"])
many = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def effect(text: str, who: dict[str, Any], call: Call, mode: Any = "enforce") -> str:
    return decide(parse_rules({"rules.toml": text}), identity_of(who), call, Moment(NOON, mode=mode)).effect


@many
@given(rule_lists, rule("deny"), claims, calls(), modes)
def test_adding_a_deny_never_allows_more(
    rules: list[str], deny: str, who: dict[str, Any], call: Call, mode: Any
) -> None:
    before, after = effect(written(rules), who, call, mode), effect(written([*rules, deny]), who, call, mode)
    assert RANK[after] <= RANK[before]


@many
@given(rule_lists, rule("allow"), claims, calls(), modes)
def test_adding_an_allow_never_denies_more(
    rules: list[str], allow: str, who: dict[str, Any], call: Call, mode: Any
) -> None:
    before, after = effect(written(rules), who, call, mode), effect(written([*rules, allow]), who, call, mode)
    assert RANK[after] >= RANK[before]


@many
@given(rule_lists, claims, calls(), st.randoms(use_true_random=False), modes)
def test_order_never_matters(
    rules: list[str], who: dict[str, Any], call: Call, shuffle: random.Random, mode: Any
) -> None:
    blocks = [f'[[rule]]\nid = "r{n}"\n{text}\n' for n, text in enumerate(rules)]
    moment = Moment(NOON, mode=mode)
    first = decide(parse_rules({"a.toml": "".join(blocks)}), identity_of(who), call, moment)
    shuffle.shuffle(blocks)
    cut = shuffle.randint(0, len(blocks))
    mixed = {"b.toml": "".join(blocks[:cut]), "a.toml": "".join(blocks[cut:])}
    turned = dataclasses.replace(call, needs=call.needs[::-1])
    again = decide(parse_rules(mixed), identity_of(who), turned, moment)
    assert dataclasses.replace(again, reason=first.reason) == first


@st.composite
def rule_about(draw: st.DrawFn, claim: str) -> str:
    """A broad rule that hangs on a claim."""
    lines = [f'effect = "{draw(st.sampled_from(["allow", "deny", "hold"]))}"', "action = ['*', 'tunnel:*']"]
    if draw(st.booleans()):
        lines.append(f"principal.{claim} = {draw(match(values))}")
    else:
        lines.append(f"resource = 'arn:aws:s3:::${{principal.{claim}}}*'")
    return "\n".join([*lines, 'hold = { by = "oncall" }'] if '"hold"' in lines[0] else lines)


@many
@given(
    st.lists(rule_about("team"), min_size=1, max_size=3), rule_lists, claims, calls(), modes, st.booleans()
)
def test_removing_a_claim_never_allows_more(
    about: list[str], more: list[str], who: dict[str, Any], call: Call, mode: Any, exempted: bool
) -> None:
    claim, rules = "team", about + more[1:]
    who = {claim: "b", **who}
    text = written(rules)
    lifted = [f"r{n}" for n, rule in enumerate(rules) if '"deny"' in rule or '"hold"' in rule]
    if exempted and lifted:
        text += (
            f'[[exemption]]\nrule = {quoted(lifted)}\nowner = "x"\nuntil = 2027-01-01\nprincipal.team = "a"\n'
        )
    if exempted:
        text += "[[observe]]\nprincipal.environment = { not = 'b' }\n"
    without = {name: value for name, value in who.items() if name != claim}
    assert RANK[effect(text, without, call, mode)] <= RANK[effect(text, who, call, mode)]


@many
@given(rule_lists, claims, calls())
def test_observing_records_what_enforcing_does(rules: list[str], who: dict[str, Any], call: Call) -> None:
    plain = [text for text in rules if "mode =" not in text]
    loaded = parse_rules({"rules.toml": written(plain)})
    observed = decide(loaded, identity_of(who), call, Moment(NOON, mode="observe"))
    enforced = decide(loaded, identity_of(who), call, Moment(NOON, mode="enforce"))
    assert observed.effect == "allow"
    assert (observed.would or "allow") == enforced.effect
    assert observed.would_mask == enforced.masks
    assert observed.masks == ()
    assert observed.rules == enforced.rules


@many
@given(rule_lists, claims, calls())
def test_what_is_not_known_of_a_resource_is_no_advantage(
    rules: list[str], who: dict[str, Any], call: Call
) -> None:
    """Whatever turns out to be allowed although a part is unknown is allowed whatever that part is.

    Holds are left out: an approved hold permits what its rule may match, and a person sees what that is.
    """
    broad = "effect = 'allow'\naction = '*'"
    text = written([broad, *(rule for rule in rules if '"hold"' not in rule)])
    if effect(text, who, call) == "allow":
        for filler in ("a", "b", "k", "zz"):
            needs = tuple(
                need
                if need.determined
                else dataclasses.replace(need, resource=need.resource.replace("*", filler), determined=True)
                for need in call.needs
            )
            assert effect(text, who, dataclasses.replace(call, needs=needs)) == "allow"


class Hostile:
    """A value that no reader of parameters expects."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = {"X": value}
    return value


@pytest.mark.parametrize(
    "test",
    [
        "equals = 'a'",
        "in = ['a', 1]",
        "like = '*'",
        "not = 'a'",
        "greater = 1",
        "cidr = '10.0.0.0/8'",
        "size = 1",
    ],
)
@pytest.mark.parametrize(
    "value",
    [
        None,
        Hostile(),
        float("nan"),
        float("inf"),
        10**400,
        b"\xff",
        "\ud800",
        [[[]]],
        object(),
        "[" * 100_000,
        nested(100_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_parameter_makes_matching_raise_or_lets_a_call_through(test: str, value: Any) -> None:
    text = f"""
[[rule]]
id = "all"
effect = "allow"
action = "*"
[[rule]]
id = "only"
effect = "allow"
operation = "a:Only"
when = [{{ path = '$.X', {test} }}, {{ path = '$..Y', equals = 'never there' }}]
[[rule]]
id = "not-this"
effect = "deny"
action = "a:Get"
when = [{{ path = '$..X', {test} }}, {{ path = '$.X', inside = '$..a', exists = true }}]
"""
    for action in ("a:Get", "a:Only"):
        call = Call(
            service="a",
            operation=action[2:],
            candidates=(("a", action[2:]),),
            protocol="json",
            region=None,
            parameters={"X": value},
            needs=(Need(action, "*", action),),
        )
        decision = decide(parse_rules({"rules.toml": text}), identity_of({}), call, Moment(NOON))
        assert decision.effect in RANK
        if decision.code == "rule-error":
            assert decision.effect == "deny"


@pytest.mark.parametrize("mode", ["enforce", "observe"])
def test_an_error_in_matching_refuses_in_every_mode(mode: Any) -> None:
    text = """
[[rule]]
id = "all"
effect = "allow"
action = "*"
[[rule]]
id = "d"
effect = "deny"
action = "a:Get"
when = [{ path = '$.X', equals = 1 }]
"""
    call = Call(
        service="a",
        operation="Get",
        candidates=(("a", "Get"),),
        protocol="json",
        region=None,
        parameters={"X": Hostile()},
        needs=(Need("a:Get", "*", "a:Get"),),
    )
    decision = decide(parse_rules({"rules.toml": text}), identity_of({}), call, Moment(NOON, mode=mode))
    assert (decision.effect, decision.code) == ("deny", "rule-error")
    assert "no" not in decision.reason.split()
