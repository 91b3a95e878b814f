"""Our walk finds what jsonpath-ng finds, and knows its bounds."""

from __future__ import annotations

import decimal
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonpath_ng.ext import parse

from callgate.policy.jsonpath import MAX_STEPS, Path, TooMuchWork

PATHS = [
    "$",
    "$.a",
    "a",
    "$.a.b",
    "$['a','b']",
    "$.*",
    "$.a.*",
    "$.a[*]",
    "$.a[*].b",
    "$.a[0]",
    "$.a[-1]",
    "$.a[0:2]",
    "$.a[::2].b",
    "$..a",
    "$..*",
    "$.a..b",
    "$..a..b",
    "$..a.b",
    "$.a[?(@.b)]",
    "$.a[?(!@.b)].a",
    "$.a[?(@.b == 1)]",
    "$.a[?(@.b != 1)]",
    "$.a[?(@.b > 1)].b",
    "$.a[?(@.b <= 1)].b",
    "$.a[?(@.b == 'x')].a",
    "$.a[?(@.a == 1 && @.b == 1)]",
    "$.a[?(@.a == 1 || @.b == 'x')]",
    "$.a[?(@.b == null)]",
    "$.a[?(@.b == true)]",
    "$..[?(@.a == 'x')].b",
    "$.a[?(@.b == $.b)]",
]
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["x", "y", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("path", PATHS)
@given(data=values)
def test_a_path_finds_what_jsonpath_ng_finds(path: str, data: Any) -> None:
    assert Path(path).values(data) == [datum.value for datum in parse(path).find(data)]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "$.",
        "$..[x",
        "$.a[?(@.b =~ '(a+)+$')]",
        "$.a.`parent`",
        "$.a.`sub(/a/, b)`",
        "$.a.`split(-, 1, 2)`",
        "$.a.`len`",
        "$.a[\\b]",
        "$.a + $.b",
        "$.a|$.b",
        "$.a where b",
        "$.a[::0]",
        "$." + "a" * 600,
        "(" * 300,
    ],
)
def test_what_may_run_away_or_fail_silently_is_no_path_for_a_rule(path: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Path(path)


def test_exact_numbers_and_any_mapping_are_seen() -> None:
    data = types.MappingProxyType({"a": ({"b": decimal.Decimal("1.5"), "c": 1},)})
    assert Path("$.a[?(@.b > 1)].c").values(data) == [1]
    assert Path("$.a[?(@.b == 1.5)].c").values(data) == [1]
    assert Path("$..c").values(data) == [1]


def test_a_boolean_is_no_number() -> None:
    assert Path("$.a[?(@.b == 1)]").values({"a": [{"b": True}]}) == []


def test_work_is_bounded() -> None:
    nested: Any = {}
    for _ in range(3_000):
        nested = {"a": nested}
    with pytest.raises(TooMuchWork):
        Path("$..a..a..a").values(nested)
    assert len(Path("$[*]").values([0] * (MAX_STEPS - 1))) == MAX_STEPS - 1


def test_deep_nesting_does_not_exhaust_the_stack() -> None:
    nested: Any = "x"
    for _ in range(50_000):
        nested = [nested]
    assert Path("$..secret").values(nested) == []
