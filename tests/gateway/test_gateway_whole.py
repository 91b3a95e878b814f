"""Bodies that are read whole."""

import random

from mitmproxy.proxy.utils import ReceiveBuffer

from callgate.hooks.whole import WholeBody


def test_it_holds_what_mitmproxys_own_holds() -> None:
    chance = random.Random(7)
    ours, theirs = WholeBody(), ReceiveBuffer()
    for _ in range(300):
        if chance.random() < 0.05:
            ours.clear()
            theirs.clear()
        piece = chance.randbytes(chance.choice((0, 1, 17, 4096, 100_000)))
        ours += piece
        theirs += piece
        assert (len(ours), bool(ours)) == (len(theirs), bool(theirs))
        if chance.random() < 0.3:
            # Asked for in between, it goes on to grow, and what was given stays what it was.
            given = bytes(ours)
            assert given == bytes(theirs)
            ours += b"more"
            theirs += b"more"
            assert bytes(ours) == bytes(theirs) == given + b"more"


def test_the_whole_is_given_without_a_copy() -> None:
    body = WholeBody()
    for _ in range(3):
        body += b"piece"
    assert bytes(body) is bytes(body)
