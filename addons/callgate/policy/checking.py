"""Warnings about rules that load, but cannot mean what they say. Each is a RuleError that nobody raises."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence

from callgate.policy import language
from callgate.policy.catalogue import Catalogue
from callgate.policy.errors import RuleError
from callgate.policy.facts import IDENTITY_NAMES
from callgate.policy.glob import Glob, is_literal
from callgate.policy.jsonpath import Path
from callgate.policy.names import Names, near
from callgate.policy.rule import OUTSIDE
from callgate.policy.ruleset import RuleSet
from callgate.policy.shadows import shadowed
from callgate.policy.shapes import PathCheck
from callgate.policy.source import Source
from callgate.policy.template import Pattern
from callgate.policy.words import last_moment

_MANY = 400
"""A rule for more actions or operations than that is not looked through: it means whatever fits."""

_Warnings = Iterator[tuple[str, str]]
"""Key and message of each warning."""


def check(rules: RuleSet, catalogue: Catalogue, now: dt.datetime) -> list[RuleError]:
    """All warnings, file by file in the order of the rules."""
    checker = _Checker(rules, catalogue, now)
    found: list[RuleError] = []
    for source in rules.sources:
        for number, rule in enumerate(source.says.rule):
            path: list[str | int] = ["rule", number]
            for key, message in checker.warnings(rule):
                found.append(source.error(message, [*path, key.partition("[")[0].partition(".")[0]], key))
            for other in shadowed(rule, rules):
                found.append(
                    source.error(f"never has a say: rule {other!r} denies all that it matches", path)
                )
        found += _outdated(source, now)
    return found


def _outdated(source: Source, now: dt.datetime) -> Iterator[RuleError]:
    for table in ("exemption", "observe"):
        for number, said in enumerate(getattr(source.says, table)):
            if said.until and last_moment(said.until) <= now:
                yield source.error(f"ended on {said.until}", [table, number, "until"])


class _Checker:
    def __init__(self, rules: RuleSet, catalogue: Catalogue, now: dt.datetime) -> None:
        self._rules = rules
        self._expand = rules.sets.expand
        self._aws = catalogue
        self._actions = Names(catalogue.actions())
        self._operations = Names(catalogue.operations())
        self._now = now

    def warnings(self, rule: language.Rule) -> _Warnings:
        if rule.until and last_moment(rule.until) <= self._now:
            yield "until", f"can never match again: it ended on {rule.until}"
        if rule.effect == "allow" and rule.mode == "observe":
            yield "mode", "an allow that is only observed permits nothing"
        yield from self._claims(rule)
        yield from self._names(rule)
        yield from self._levels(rule)
        yield from self._resources(rule)
        yield from self._places(rule)
        yield from self._accounts(rule)
        yield from self._outside(rule)
        yield from self._paths(rule)

    def _claims(self, rule: language.Rule) -> _Warnings:
        known = {*IDENTITY_NAMES, *self._aws.claims()}
        keys = {name: f"principal.{name}" for name in rule.principal or {}}
        for key, match in (("resource", rule.resource), ("resource_account", rule.resource_account)):
            for word in self._expand(match.words) if match else ():
                keys |= {name: key for name in Pattern(word).claims}
        for name, key in keys.items():
            if name not in known:
                yield key, f"no issuer profile knows the claim {name}{near(name, known)}"

    def _names(self, rule: language.Rule) -> _Warnings:
        key, names = ("operation", self._operations) if rule.operation else ("action", self._actions)
        for word in self._aws_words(rule):
            if names.meant(word):
                continue
            hint = names.near(word)
            if not rule.operation and self._operations.meant(word):
                hint = f"; it is an operation's name: write operation = {word!r}, or the action that it needs"
            yield key, f"there is no {key} {word}, so it can never match{hint}"

    def _aws_words(self, rule: language.Rule) -> list[str]:
        words = self._expand(rule.action or rule.operation or ("*",))
        return [word for word in words if word.partition(":")[0].lower() not in OUTSIDE]

    def _levels(self, rule: language.Rule) -> _Warnings:
        if rule.access and rule.action:
            actions = [action for word in self._aws_words(rule) for action in self._actions.meant(word)]
            levels = {level for action in actions if (level := self._aws.access_level(action))}
            if levels and not levels & set(rule.access):
                yield "access", f"can never match: the actions are {', '.join(sorted(levels))}"

    def _resources(self, rule: language.Rule) -> _Warnings:
        """Actions whose resource types the rule's ARNs can never be."""
        if rule.resource is None or rule.resource.negated or rule.operation:
            return
        globs = [Glob(Pattern(word).with_any_claim) for word in self._expand(rule.resource.words)]
        for word in self._aws_words(rule):
            actions = self._actions.meant(word)
            missed = [action for action in actions if not self._acts_on(action, globs)]
            # Who writes s3:* or *:Delete* means whatever acts on such resources.
            service, _, name = word.partition(":")
            narrow = is_literal(service) and name not in ("", "*")
            if missed and (narrow or len(missed) == len(actions)):
                yield "resource", self._missed(word, actions, missed)

    def _places(self, rule: language.Rule) -> _Warnings:
        """Accounts and regions that there cannot be."""
        for key, match in (("account", rule.account), ("resource_account", rule.resource_account)):
            for word in self._expand(match.words) if match else ():
                if word.isdecimal() and len(word) != 12:
                    yield key, f"{word!r} is no account id: those have 12 digits"
        regions = self._aws.regions()
        for word in self._expand(rule.region.words) if rule.region else ():
            if not any(Glob(word).matches(region) for region in regions):
                yield "region", f"there is no region {word}{near(word, regions)}"

    def _accounts(self, rule: language.Rule) -> _Warnings:
        if rule.effect != "allow" or rule.resource_account is None or rule.operation:
            return
        for word in self._aws_words(rule):
            kinds = {
                kind for action in self._actions.meant(word) for kind in self._aws.resource_types(action)
            }
            if not any(kind.count(":") < 5 or kind.split(":")[4] for kind in kinds):
                yield "resource_account", f"can never allow {word}: ARNs of its resources have no account"

    def _acts_on(self, action: str, globs: Sequence[Glob]) -> bool:
        kinds = self._aws.resource_types(action)
        if not kinds:
            return any(glob.matches("*") for glob in globs)
        return any(glob.intersects(kind) for glob in globs for kind in kinds)

    def _missed(self, word: str, actions: Sequence[str], missed: Sequence[str]) -> str:
        first = missed[0]
        kinds = " or ".join(self._aws.resource_types(first)) or "no resource, only *"
        if len(actions) == 1:
            return f"can never match {first}: it acts on {kinds}"
        fit = len(actions) - len(missed)
        listed = ", ".join(missed[:4]) + (", …" if len(missed) > 4 else "")
        return (
            f"{word} is {len(actions)} actions, and {fit or 'none'} of them can act on such a resource: "
            f"not {listed} ({first} acts on {kinds})"
        )

    def _outside(self, rule: language.Rule) -> _Warnings:
        """Resources of calls to hosts outside AWS have a form of their own."""
        names = [name.lower() for name in self._expand(rule.action or rule.operation or ())]
        if rule.resource is None and any(name.startswith("http:") for name in names):
            yield "action", "without resource, the TLS of every host outside AWS is opened for this rule"
        if not names or rule.resource is None or rule.resource.negated:
            return
        for word in self._expand(rule.resource.words):
            host = word.rpartition(":")[0]
            if all(name.startswith("tunnel:") for name in names) and self._aws.is_api_host(host):
                yield "resource", f"can never match a tunnel: {host} is an API of AWS, judged call by call"
            if all(name.startswith("tunnel:") for name in names) and not Glob(word).intersects("*:*"):
                yield (
                    "resource",
                    f"{word!r} can never match a tunnel: those are HOST:PORT, as in pypi.org:443",
                )
            if all(name.startswith("http:") for name in names) and not Glob(word).intersects("https://*"):
                yield "resource", f"{word!r} can never match a URL: those begin with https://"

    def _paths(self, rule: language.Rule) -> _Warnings:
        operations = self._concerned(rule)
        inputs = [shape for name in operations if (shape := self._aws.input_shape(name))]
        outputs = [shape for name in operations if (shape := self._aws.output_shape(name))]
        for number, condition in enumerate(rule.when or ()):
            yield from _path(f"when[{number}].path", condition.path, inputs, "request")
        for n, group in enumerate(rule.any or ()):
            for m, condition in enumerate(group):
                yield from _path(f"any[{n}][{m}].path", condition.path, inputs, "request")
        for text in rule.response or ():
            yield from _path("response", text, outputs, "response")

    def _concerned(self, rule: language.Rule) -> Collection[str]:
        """The operations that a rule with paths is about; none if they are too many to look through."""
        if not (rule.when or rule.any or rule.response):
            return ()
        words = self._aws_words(rule)
        if rule.operation:
            found = {name for word in words for name in self._operations.meant(word)}
        else:
            actions = {action for word in words for action in self._actions.meant(word)}
            if len(actions) >= _MANY:
                return ()
            found = {name for action in actions for name in self._aws.operations_needing(action)}
        return found if len(found) < _MANY else ()


def _path(key: str, text: str, shapes: Sequence[object], what: str) -> _Warnings:
    if not shapes:
        return
    walked = PathCheck(Path(text), shapes)
    if not walked.found:
        missing = f" has no {walked.missing}" if walked.missing else " has nothing there"
        yield key, f"{text} can never find anything: the {what}{missing}{walked.hint}"
