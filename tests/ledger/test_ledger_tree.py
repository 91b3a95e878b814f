"""RFC 6962 trees: published proofs, and proofs of our own over every small tree."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from callgate.ledger.tree import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
)

VECTORS = json.loads((Path(__file__).parents[1] / "data/ledger/rfc6962-proofs.json").read_text())


def unpacked(text: str | None) -> bytes:
    return base64.b64decode(text or "")


def proof_in(case: dict[str, Any]) -> list[bytes]:
    return [unpacked(node) for node in case["proof"] or []]


def holds(check: Any, *arguments: Any) -> bool:
    try:
        check(*arguments)
    except ProofError:
        return False
    return True


@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case["id"])
def test_published_inclusion_proofs_come_out_as_they_say(case: dict[str, Any]) -> None:
    arguments = (
        case["leafIdx"],
        case["treeSize"],
        unpacked(case["leafHash"]),
        proof_in(case),
        unpacked(case["root"]),
    )
    assert holds(check_inclusion, *arguments) is not case["wantErr"]


@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case["id"])
def test_published_consistency_proofs_come_out_as_they_say(case: dict[str, Any]) -> None:
    arguments = (
        case["size1"],
        case["size2"],
        unpacked(case["root1"]),
        unpacked(case["root2"]),
        proof_in(case),
    )
    assert holds(check_consistency, *arguments) is not case["wantErr"]


def test_the_roots_of_the_reference_tree_are_the_published_ones() -> None:
    # Leaves and roots of certificate-transparency's reference implementation.
    leaves = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    roots = {
        1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    }
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in leaves]
    assert root_of([]) == EMPTY_ROOT
    assert {size: root_of(hashes[:size]).hex() for size in roots} == roots


def test_every_proof_of_every_small_tree_holds_and_no_other_leaf_passes() -> None:
    hashes = [leaf_hash(bytes([n])) for n in range(20)]

    def root(start: int, end: int) -> bytes:
        return root_of(hashes[start:end])

    for size in range(1, 21):
        for index in range(size):
            proof = inclusion_proof(index, size, root)
            check_inclusion(index, size, hashes[index], proof, root(0, size))
            assert not holds(check_inclusion, index, size, hashes[(index + 1) % 20], proof, root(0, size))
        for old in range(1, size + 1):
            proof = consistency_proof(old, size, root)
            check_consistency(old, size, root(0, old), root(0, size), proof)
            assert old == size or not holds(check_consistency, old, size, hashes[7], root(0, size), proof)


def test_a_frontier_survives_packing_and_refuses_a_wrong_number_of_hashes() -> None:
    frontier = Frontier()
    for n in range(1, 70):
        frontier.push(leaf_hash(bytes([n])))
        again = Frontier.from_bytes(frontier.size, frontier.to_bytes())
        assert again.root() == frontier.root()
        with pytest.raises(ProofError):
            Frontier.from_bytes(frontier.size, frontier.to_bytes() + bytes(32))
