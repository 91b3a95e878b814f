"""How scripts/build-iam derives a plan for each operation: IAM actions, and which parameters name the
resources.

A plan is `{"needs": [[action, access level, [choice, …]], …], "any": [path, …], "roles": [path, …]}`. A
choice is `[required, ARN template, [[variable, [path, …]], …]]`: one resource type of the action, and for
each variable of its template the parameters that may hold it, best first. `any` are parameters that name a
resource of any type by its ARN, `roles` those that may hand a role over by its ARN, `named` by its name,
`profiles` inside an instance profile. A path is `Member`, `Member.Member` or with `[]` for each item; `=text`
stands for itself, `&` in front says that only ARNs count.
"""

from __future__ import annotations

import re
from typing import Any

READING = re.compile(
    r"(Get|List|Describe|BatchGet|Search|Query|Lookup|Scan|Head|Simulate|Check|Preview|Retrieve)"
)
ROLE = re.compile(r"role|credentials(arn)?$|permissionarn$|callerarn$|instanceprofile", re.I)
NOT_HANDED = re.compile(r"crossaccount|assumable|principal|resourcerole", re.I)
PROFILE = re.compile(r"InstanceProfile|JobFlowRole|instanceRole")
OF_ANY_TYPE = re.compile(r"(Tag|Untag|ListTags|AddTags|RemoveTags|DeleteTags|DescribeTags)|\w+ResourcePolic")
KEEPS_ROLES = {"iam", "sts", "organizations", "sso-admin", "sso", "accessanalyzer", "lakeformation", "kms"}
FIXED = {"Partition", "Region", "Account"}
SUFFIXES = (
    "withoutleadingslash",
    "withpath",
    "resourceid",
    "identifier",
    "familyname",
    "instancename",
    "name",
    "id",
    "arn",
)
VAGUE = {"id", "name", "arn", "uuid", "identifier", "resourceid", "resourcename", "type", "version"}
GENERIC = ["name", "id", "identifier", "arn", "names", "ids", "identifiers", "arns"]
Members = list[tuple[str, str]]  # (name as compared, path), shallow ones first


def norm(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def members(model: dict[str, Any], shape_name: str | None, depth: int = 2) -> Members:
    """The string members of an input shape, down to `depth` structures, each with its path."""
    found: list[tuple[int, str, str]] = []

    def walk(shape_name: str, prefix: str, level: int, trail: tuple[str, ...]) -> None:
        shape = model["shapes"][shape_name]
        if shape_name in trail:
            return
        trail = (*trail, shape_name)
        for name, member in shape.get("members", {}).items():
            path, inner = prefix + name, model["shapes"][member["shape"]]
            inner_name = member["shape"]
            while inner["type"] in ("list", "map"):
                path += "[]"
                inner_name = (inner.get("member") or inner["value"])["shape"]
                inner = model["shapes"][inner_name]
            if inner["type"] in ("string", "integer", "long"):
                found.append((level, norm(name), path))
            elif inner["type"] == "structure" and level < depth:
                walk(inner_name, path + ".", level + 1, trail)

    if shape_name:
        walk(shape_name, "", 0, ())
    return [(name, path) for _, name, path in sorted(found, key=lambda entry: entry[0])]


def leaf(path: str) -> str:
    """What the last part of a path is called, with what it is the ARN or name of."""
    parts = path.split(".")
    return ".".join(parts[-2:]) if parts[-1] in ("Arn", "Name") else parts[-1]


def variables(template: str) -> list[str]:
    return [name for name in re.findall(r"\$\{(\w+)\}", template) if name not in FIXED]


def names_for(variable: str, resource_type: str, leaf: bool) -> list[str]:
    """What a parameter that holds `variable` may be called, best first."""
    whole, kind = norm(variable), norm(resource_type.partition("/")[0])
    stems = [whole.removesuffix(end) for end in SUFFIXES if whole.endswith(end) and whole != end]
    names = [whole, *(whole + end for end in ("arn", "id", "name") if leaf and not whole.endswith(end))]
    for stem in [*stems, kind] if leaf else stems:
        names += [stem + end for end in ("name", "id", "identifier", "arn", "")]
    return list(dict.fromkeys([*names, *(plural(name) for name in names)]))


def plural(name: str) -> str:
    return name[:-1] + "ies" if name.endswith("y") else name + "s"


def matches(wanted: list[str], have: Members, kind: str = "") -> list[str]:
    """Paths of the parameters called as `wanted` says, or with a word before it, or as the end of `kind`."""
    for depth in range(3):
        level = [member for member in have if member[1].count(".") == depth]
        found = [path for name in wanted for other, path in level if other == name]
        if not found and wanted[0] not in VAGUE:
            found = [path for other, path in level if other.endswith(wanted[0])]
        if not found and kind:
            found = [
                path for other, path in level if len(stem(other)) > 3 and norm(kind).endswith(stem(other))
            ]
        if found:
            return list(dict.fromkeys(found))
    return []


def ends(kind: str, name: str) -> bool:
    return len(name) > 3 and name != "resource" and norm(kind).endswith(name)


def stem(name: str) -> str:
    """A name as compared, without what it says of the way it names."""
    return re.sub(r"(id|arn|name|identifier)s?$", "", name)


def only_arn(variable: str, path: str, taken: set[str]) -> str:
    """`path`, with `&` in front if it holds the variable only when it holds a whole ARN.

    So it is with a name that another part of the ARN has already, or that stands for an id made by AWS.
    """
    made = variable.lower() in ("id", "uuid") and norm(path).endswith("name")
    return f"&{path}" if made or (path in taken and not norm(path).endswith(("arn", "arns"))) else path


def is_new(operation: str, kind: str) -> bool:
    """Whether the operation makes a resource of this type whose name AWS chooses."""
    noun = norm(re.sub(r"^(Create|Allocate|Import|Copy|Request|Purchase)", "", operation))
    kind = norm(kind.partition("/")[0])
    return (
        noun != norm(operation) and noun.startswith(kind) and noun[len(kind) :] in ("", "s", "fromsnapshot")
    )


class Planner:
    """Derives the plans of one service."""

    def __init__(
        self, model: dict[str, Any], service: str, prefix: str, table: dict[str, Any], hand: dict[str, Any]
    ) -> None:
        self.model = model
        self.service = service
        self.prefix = prefix
        self.table = table
        self.hand = hand.get("operations", {}).get(service, {})
        service = hand.get("same_as", {}).get(service, service)
        self.handed = hand.get("roles", {}).get(service, {})
        self.named = hand.get("role_names", {}).get(service, [])
        self.synonyms = hand.get("synonyms", {}).get(service, {})
        self.optional = hand.get("optional", {}).get(service, {})
        self.names = {p: {n.lower(): n for n in entry["actions"]} for p, entry in table.items()}

    def plan(self, operation: str) -> dict[str, Any]:
        shape = self.model["operations"][operation].get("input", {}).get("shape")
        have = members(self.model, shape)
        wanted = self.hand.get(operation, [self.action(operation)])
        plan: dict[str, Any] = {"needs": [self.need(text, operation, have) for text in wanted]}
        if found := any_paths(have):
            plan["any"] = found
        handed = self.roles(operation, shape)
        for key, found in (
            ("roles", [path for path in handed if not PROFILE.search(path)]),
            ("profiles", [path for path in handed if PROFILE.search(path)]),
            ("named", [path for _, path in have if path in self.named]),
        ):
            if found:
                plan[key] = found
        return plan

    def action(self, operation: str) -> str:
        """The action of the operation's name; for API Gateway the one of its HTTP verb, on its path."""
        entry = self.model["operations"][operation]
        if self.prefix == "apigateway" and operation.lower() not in self.names["apigateway"]:
            http = entry["http"]
            uri = http["requestUri"].partition("?")[0].removeprefix("/v2").replace("+}", "}")
            shape = self.model["shapes"][entry["input"]["shape"]] if "input" in entry else {}
            labels = {m.get("locationName", name): name for name, m in shape.get("members", {}).items()}
            path = re.sub(r"\{(\w+)\}", lambda label: f"{{{labels[label[1]]}}}", uri)
            return f"apigateway:{http['method']} arn:${{Partition}}:apigateway:${{Region}}::{path}"
        return f"{self.prefix}:{operation}"

    def roles(self, operation: str, shape: str | None) -> list[str]:
        """Paths of the parameters in which a role may be handed over, by its ARN."""
        by_hand = self.handed.get(operation, [])
        if self.service in KEEPS_ROLES or READING.match(operation) or operation.startswith("Delete"):
            return by_hand
        found = [path for _, path in members(self.model, shape, 6)]
        by_name = [path for path in found if ROLE.search(leaf(path)) and not NOT_HANDED.search(leaf(path))]
        return by_name + by_hand

    def need(self, text: str, operation: str, have: Members) -> list[Any]:
        """`prefix:Action`, or `prefix:Action ARN` with `{path}` for parameters, as an entry of a plan."""
        action, _, arn = text.partition(" ")
        prefix, _, name = action.partition(":")
        name = self.names.get(prefix, {}).get(name.lower(), name)
        action = f"{prefix}:{name}"
        if arn:
            return [action, [] if arn == "*" else [self.by_hand(arn)]]
        entry = self.table.get(prefix, {}).get("actions", {}).get(name)
        if entry is None:
            return [action, [[0, "${Unknown}", []]]]
        _, kinds, required = entry
        choices = [
            self.choice(index < required, prefix, kind, operation, have, len(kinds) == 1)
            for index, kind in enumerate(kinds)
        ]
        arns = [path for path in any_paths(have) if not path.lower().endswith("id")]
        if len(kinds) > 1 and arns and OF_ANY_TYPE.match(operation):
            return [action, [[1, "${Resource}", [["Resource", [f"&{path}" for path in arns]]]]]]
        return [action, without_doubles(choices)]

    @staticmethod
    def by_hand(arn: str) -> list[Any]:
        sources: list[list[Any]] = []

        def name(match: re.Match[str]) -> str:
            sources.append([f"v{len(sources)}", match[1].split("|") if match[1] else []])
            return "${" + sources[-1][0] + "}"

        return [1, re.sub(r"(?<!\$)\{([^}]*)\}", name, arn), sources]

    def choice(
        self, required: bool, prefix: str, kind: str, operation: str, have: Members, alone: bool
    ) -> list[Any]:
        template = self.table[prefix]["resources"][kind]
        names = variables(template)
        filled: list[list[Any]] = []
        for index, variable in enumerate(names):
            last = index == len(names) - 1
            found = self.synonym(operation, kind, variable, have)
            if found is None:
                found = matches(names_for(variable, kind, last), have, kind if last else "")
                if not found and last and (alone or norm(operation).rstrip("s").endswith(norm(kind))):
                    found = matches(GENERIC, [m for m in have if "." not in m[1]])
                taken = {path for _, paths in filled for path in paths or ()}
                found = [only_arn(variable, path, taken) for path in found]
            named = [path for path in found if not path.startswith("&")]
            if found == ["*"] or (not named and last and is_new(operation, kind)):
                filled.append([variable, None])
            else:
                filled.append([variable, found])
        return [int(required and kind not in self.optional.get(operation, ())), template, filled]

    def synonym(self, operation: str, kind: str, variable: str, have: Members) -> list[str] | None:
        """What the hand-made table says of a variable; None if nothing."""
        for key in (f"{operation}/{kind}", f"{operation}/{variable}", f"{kind}.{variable}", variable):
            if key in self.synonyms:
                paths = {path for _, path in have}
                said = self.synonyms[key].split("|")
                return [path for path in said if path.lstrip("&") in paths or path[:1] in ("*", "=", "@")]
        return None


def complete(entry: list[Any]) -> bool:
    """Whether parameters can tell every variable of a choice."""
    return all(paths is None or any(path[0] != "&" for path in paths) for _, paths in entry[2])


def without_doubles(choices: list[list[Any]]) -> list[list[Any]]:
    """Of resource types that one parameter would name, the one named best; none optional that nothing names.

    The reference also calls types required that are alternatives: where one parameter takes either's ARN.
    """
    kept: list[list[Any]] = []
    leaves: set[str] = set()
    for entry in sorted(choices, key=lambda entry: (not complete(entry), -entry[0])):
        leaf = entry[2][-1][1] if entry[2] else None
        named = {path for _, paths in entry[2] for path in paths or ()}
        if not entry[0] and ((leaf and leaves.intersection(leaf)) or (leaf == [] and kept)):
            continue
        arns = {path for path in leaves if path.lower().endswith(("arn", "arns[]"))}
        if entry[0] and leaf is not None and named and named <= arns:
            continue
        leaves.update(leaf or ())
        kept.append(entry)
    return sorted(kept, key=lambda entry: -entry[0])


def any_paths(have: Members) -> list[str]:
    wanted = (
        "resourcearn",
        "resourcearns",
        "arn",
        "arns",
        "resource",
        "resourcename",
        "resourceid",
        "resourcearnlist",
    )
    return [path for name, path in have if name in wanted and "." not in path]
