"""Globs against their definition, by enumeration over a small alphabet."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.policy.glob import Glob, is_literal

ALPHABET = "ab*?\n"
TEXTS = ["".join(text) for size in range(5) for text in itertools.product("ab", repeat=size)]
patterns = st.text(alphabet="ab*?", max_size=6)
unknowns = st.text(alphabet="ab*", max_size=5)


def defined(pattern: str, text: str) -> bool:
    """What a glob means, by the book."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return defined(pattern[1:], text) or bool(text and defined(pattern, text[1:]))
    return bool(text) and pattern[0] in ("?", text[0]) and defined(pattern[1:], text[1:])


@given(patterns, st.text(alphabet=ALPHABET, max_size=8))
def test_a_glob_matches_what_its_definition_says(pattern: str, text: str) -> None:
    assert Glob(pattern).matches(text) == defined(pattern, text)


@given(patterns, unknowns)
def test_a_glob_intersects_an_unknown_exactly_if_some_text_fits_both(pattern: str, unknown: str) -> None:
    # If two globs of at most 6 and 5 characters share a text, they share one in which every star is short.
    longest = len(pattern) + len(unknown)
    shared = any(
        defined(pattern, text) and defined(unknown, text)
        for text in map(
            "".join, itertools.chain.from_iterable(itertools.product("ab", repeat=n) for n in range(7))
        )
        if len(text) <= longest
    )
    if shared:
        assert Glob(pattern).intersects(unknown)
    elif longest <= 6:
        assert not Glob(pattern).intersects(unknown)


@given(patterns, unknowns)
def test_what_a_glob_covers_it_matches_whatever_the_unknown_turns_out_to_be(
    pattern: str, unknown: str
) -> None:
    if Glob(pattern).covers(unknown):
        for filler in TEXTS:
            assert Glob(pattern).matches(unknown.replace("*", filler))
        assert Glob(pattern).intersects(unknown)


@pytest.mark.parametrize(
    ("pattern", "unknown", "covered"),
    [
        ("*", "*", True),
        ("arn:aws:s3:::*", "arn:aws:s3:::*", True),
        ("arn:aws:s3:::*", "*", False),
        ("arn:aws:s3:::?", "arn:aws:s3:::*", False),
        ("a?*", "a*", False),
        ("a*", "ab*", True),
        ("a*c", "a*bc", True),
        ("a*c", "a*b", False),
    ],
)
def test_only_a_star_takes_in_what_is_not_known(pattern: str, unknown: str, covered: bool) -> None:
    assert Glob(pattern).covers(unknown) is covered


def test_spliced_values_are_literal() -> None:
    glob = Glob("x/\0/*", ("a*?[b]\\",))
    assert glob.matches("x/a*?[b]\\/anything")
    assert not glob.matches("x/aZZ[b]\\/anything")
    assert not glob.covers("x/a*?[b]\\/anything")
    assert not Glob("\0", ("*",)).covers("*")


@pytest.mark.parametrize("text", ["a\n", "\na", "A", "ab", ""])
def test_the_whole_string_counts(text: str) -> None:
    assert not Glob("a").matches(text)


def test_nothing_but_star_and_question_mark_is_special() -> None:
    assert Glob("[a-c].+(x|y)^$").matches("[a-c].+(x|y)^$")
    assert not Glob("[a-c]").matches("b")
    assert is_literal("[a]")
    assert not is_literal("a?")


def test_many_stars_do_not_run_away() -> None:
    start = time.perf_counter()
    glob = Glob("*a" * 40 + "*b")
    assert not glob.matches("a" * 100_000)
    assert not glob.intersects("a" * 1_000)
    assert glob.intersects("a" * 1_000 + "*")
    assert time.perf_counter() - start < 2
