"""Canonical JSON: what we write is what RFC 8785 says, whatever the value."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.ledger.canonical import canonical
from callgate.ledger.entries import is_canonical

SAFE = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.integers(-SAFE, SAFE) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)


@given(JSON)
@settings(max_examples=300, deadline=None)
def test_any_json_value_is_written_as_rfc8785_writes_it(value: Any) -> None:
    text = canonical(value)
    assert text.encode() == rfc8785.dumps(value)
    assert is_canonical(text)


@pytest.mark.parametrize(
    "value",
    [
        0.0, -0.0, 1e21, 1e-6, 1e-7, 9.999e20, 333333333.3333333, 1e-27, 5e-324, 1.7976931348623157e308, 4.5,
        2e-3, 1e15, 1e16, 1e17, None, ":1.5", "a,1e16,", "[null",
        {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\x80": 6, "\xf6": 7},
        "\u20ac$\x0f\nA'B\"\\\\\"/\x7f\u2028",
    ],
)  # fmt: skip
def test_the_corner_cases_of_the_standard_come_out_as_its_reference_says(value: Any) -> None:
    for whole in (value, [value], {"a": value, "b": value}):
        assert canonical(whole).encode() == rfc8785.dumps(whole)


@pytest.mark.parametrize(
    "text",
    ['{"a":1,"a":1}', '{"b":1,"a":2}', '{"a": 1}', '{"a":1.0}', '{"a":9007199254740993}',
     '{"a":"\\u0041"}', '{"a":1}\x00', '{"a":1e2}', "9" * 400, "{", ""],
)  # fmt: skip
def test_what_is_not_in_canonical_form_is_told(text: str) -> None:
    assert not is_canonical(text)
