"""The hash of a body that passes through."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from callgate.hooks.digest import Digest

MIB = 1024 * 1024


@pytest.mark.parametrize(
    "sizes",
    [[], [0], [1], [65_536] * 40, [MIB // 2 - 1, 1, 0, 7], [3 * MIB, 1], [1, 3 * MIB, MIB // 2, 16_384]],
)
@pytest.mark.parametrize("settle", [False, True])
def test_the_pieces_hash_as_the_whole(sizes: list[int], settle: bool) -> None:
    whole, digest = b"", Digest()
    for number, size in enumerate(sizes):
        piece = bytes([number % 251]) * size
        digest.update(piece)
        whole += piece
    if settle:
        asyncio.run(digest.settled())
    assert digest.hexdigest() == hashlib.sha256(whole).hexdigest()
    assert digest.hexdigest() == hashlib.sha256(whole).hexdigest()


def test_pieces_may_follow_a_hash_that_was_asked_for() -> None:
    digest = Digest()
    for count in range(1, 5):
        digest.update(b"x" * MIB)
        assert digest.hexdigest() == hashlib.sha256(b"x" * MIB * count).hexdigest()
