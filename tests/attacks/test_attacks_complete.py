"""No case of the security contract is without a test, no reason code without an explanation."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CASES = (TESTS / "data" / "security_cases.txt").read_text().split()
MARKED = {
    case
    for file in Path(__file__).parent.glob("test_*.py")
    for marker in re.findall(r"mark\.case\(([^)]*)\)", file.read_text())
    for case in re.findall(r'"([A-G]\d\d)"', marker)
}
_LISTED = tomllib.loads((Path(__file__).parent / "elsewhere.toml").read_text())
ELSEWHERE, LATER = _LISTED["cases"], _LISTED["later"]


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_a_test(case: str) -> None:
    assert case in MARKED or case in ELSEWHERE or case in LATER


@pytest.mark.parametrize("case", ELSEWHERE)
def test_the_tests_that_stand_elsewhere_are_there(case: str) -> None:
    assert case in CASES
    for line in ELSEWHERE[case]:
        file, _, names = line.partition(": ")
        text = (TESTS / file).read_text()
        for name in names.split(", "):
            assert f"def test_{name}(" in text, f"{file}: {name}"


def test_no_case_is_made_up() -> None:
    assert set(CASES) >= MARKED | set(LATER)


def test_every_reason_code_is_documented() -> None:
    documented = {
        code
        for page in (TESTS.parent / "docs").glob("*.md")
        for code in re.findall(r"`([a-z][a-z_-]+[a-z])`", page.read_text())
    }
    raised = {
        node.args[0].value
        for file in (TESTS.parent / "addons" / "callgate").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Refusal"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert len(raised) > 80
    assert sorted(raised - documented) == []
