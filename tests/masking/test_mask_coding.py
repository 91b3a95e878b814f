"""Content codings: whole and bounded, or refused."""

import gzip
import zlib

import brotli
import pytest
import zstandard

from callgate.call import Refusal
from callgate.masking.coding import decode

TEXT = b'{"SecretString":"canary"}' * 100
CODED = {
    "gzip": gzip.compress(TEXT),
    "deflate": zlib.compress(TEXT),
    "br": brotli.compress(TEXT),
    "zstd": zstandard.ZstdCompressor().compress(TEXT),
}
BOMB = bytes(50_000_000)


@pytest.mark.parametrize("name", CODED)
@pytest.mark.case("F01")
def test_a_whole_stream_is_read(name: str) -> None:
    assert decode(CODED[name], [name.upper()], len(TEXT)) == TEXT


@pytest.mark.parametrize("name", ["gzip", "zstd"])
@pytest.mark.case("F01")
def test_every_member_is_read(name: str) -> None:
    assert decode(CODED[name] * 2, [name], 10_000) == TEXT * 2


@pytest.mark.parametrize("name", CODED)
@pytest.mark.parametrize("cut", [1, 3, 10])
@pytest.mark.case("F01")
def test_a_cut_stream_is_refused(name: str, cut: int) -> None:
    with pytest.raises(Refusal) as refused:
        decode(CODED[name][:-cut], [name], 10_000)
    assert (refused.value.status, refused.value.code) == (502, "mask-coding")


@pytest.mark.parametrize("name", CODED)
def test_bytes_behind_the_end_are_refused(name: str) -> None:
    with pytest.raises(Refusal):
        decode(CODED[name] + b"canary", [name], 10_000)


@pytest.mark.parametrize("name", CODED)
def test_one_byte_over_the_bound_is_refused(name: str) -> None:
    with pytest.raises(Refusal) as refused:
        decode(CODED[name], [name], len(TEXT) - 1)
    assert refused.value.code == "mask-too-large"


@pytest.mark.parametrize(
    ("name", "bomb"),
    [
        ("gzip", gzip.compress(BOMB)),
        ("deflate", zlib.compress(BOMB)),
        ("br", brotli.compress(BOMB, quality=1)),
        ("zstd", zstandard.ZstdCompressor().compress(BOMB)),
    ],
    ids=["gzip", "deflate", "br", "zstd"],
)
def test_a_bomb_is_refused(name: str, bomb: bytes) -> None:
    with pytest.raises(Refusal) as refused:
        decode(bomb, [name], 1_000_000)
    assert refused.value.code == "mask-too-large"


@pytest.mark.parametrize(
    "encodings",
    [
        ["uu"],
        ["base64"],
        ["rot13"],
        ["aws-chunked"],
        ["compress"],
        ["gzip, gzip"],
        ["gzip", "br"],
        ["utf-16"],
    ],
)
@pytest.mark.case("F01")
def test_any_other_coding_is_refused(encodings: list[str]) -> None:
    with pytest.raises(Refusal) as refused:
        decode(CODED["gzip"], encodings, 10_000)
    assert refused.value.code == "mask-coding"


def test_no_coding_leaves_the_body_as_it_is() -> None:
    assert decode(TEXT, [], 10_000) is TEXT
    assert decode(TEXT, ["identity"], 10_000) is TEXT
