"""The house rules that a linter cannot hold: imports point one way, modules stay readable."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "addons" / "callgate"
WORDS = {"call", "decision", "journal", "duration", "misfit", "web"}
MAY_IMPORT = {
    "channel": set(),
    "identity": set(),
    "aws": set(),
    "policy": {"identity"},
    "approvals": {"identity"},
    "masking": {"aws"},
    "ledger": set(),
    "runner": set(),
    "hooks": {"channel", "identity", "aws", "policy", "approvals", "masking", "ledger"},
    "serve": {"channel", "identity", "aws", "policy", "approvals", "masking", "ledger", "hooks"},
    "cli": {"channel", "identity", "aws", "policy", "approvals", "masking", "ledger", "runner", "serve"},
}
MITMPROXY = {"hooks", "serve"}
TERMINAL = {"click", "rich"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    rooms = {name.split(".")[1] for name in imported(path) if name.startswith("callgate.")} - {
        room,
        "__version__",
    }
    allowed = WORDS | MAY_IMPORT.get(room, set())
    assert rooms <= allowed, f"{path} imports {sorted(rooms - allowed)}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_mitmproxy_click_and_rich_stay_in_their_rooms(path: Path) -> None:
    roots = {name.split(".")[0] for name in imported(path)}
    room = room_of(path)
    assert "mitmproxy" not in roots or room in MITMPROXY
    assert not roots & TERMINAL or room == "cli"


def test_every_room_is_known_to_this_test() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert rooms == set(MAY_IMPORT)


def test_the_entry_script_does_nothing_but_register() -> None:
    tree = ast.parse((ROOT / "addons" / "gateway.py").read_text("utf-8"))
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == ["load"]
    assert len(functions[0].body) == 1
