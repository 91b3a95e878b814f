"""No case of the security contract is without a test, no reason code without an explanation."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CASES = (TESTS / "data" / "security_cases.txt").read_text().split()
MARKED = {
    case
    for file in TESTS.rglob("test_*.py")
    for marker in re.findall(r"mark\.case\(([^)]*)\)", file.read_text())
    for case in re.findall(r'"([A-G]\d\d)"', marker)
}
# Cases that attack what is not built yet.
LATER = {"D22": "The gateway does not sign for AWS; it passes on what the client has signed."}


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_a_test(case: str) -> None:
    assert (case in MARKED) != (case in LATER)


def test_no_case_is_made_up() -> None:
    assert MARKED | set(LATER) == set(CASES)


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
