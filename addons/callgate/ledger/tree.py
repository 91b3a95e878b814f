"""The Merkle tree of RFC 6962 (section 2.1): hashes, roots, inclusion and consistency proofs.

Pure: leaves come in as their 32-byte hashes, proofs go out as lists of 32-byte hashes, bottom up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

EMPTY_ROOT = hashlib.sha256(b"").digest()


class ProofError(ValueError):
    """A proof does not show what it claims."""


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one leaf: SHA-256 of 0x00 and the entry's bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256 of 0x01 and both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(slots=True)
class Frontier:
    """The right edge of a growing tree: the roots of the full subtrees over `size` leaves, largest first.

    It is all that appending and signing need to know of the leaves before.
    """

    size: int = 0
    hashes: list[bytes] = field(default_factory=list)

    def push(self, leaf: bytes) -> None:
        """Append one leaf hash."""
        size = self.size
        hashes = self.hashes
        while size & 1:
            leaf = hashlib.sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The tree's root hash over all leaves so far."""
        if not self.hashes:
            return EMPTY_ROOT
        *rest, root = self.hashes
        for left in reversed(rest):
            root = node_hash(left, root)
        return root

    def copy(self) -> Frontier:
        """An independent copy, to try leaves that may have to be taken back."""
        return Frontier(self.size, list(self.hashes))

    def to_bytes(self) -> bytes:
        """The hashes in one string; the size tells how many there are."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, packed: bytes) -> Frontier:
        """Undo `to_bytes`. Raises ProofError if the number of hashes does not fit the size."""
        if size < 0 or len(packed) != 32 * size.bit_count():
            raise ProofError(
                f"a tree of {size} leaves has {size.bit_count()} full subtrees, not {len(packed) / 32:g}"
            )
        return cls(size, [packed[at : at + 32] for at in range(0, len(packed), 32)])


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.push(leaf)
    return frontier.root()


RangeRoot = Callable[[int, int], bytes]
"""The root over the leaves [start, end), which the caller's store answers."""


def _split(size: int) -> int:
    """The largest power of two below `size` (RFC 6962's k)."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, root: RangeRoot) -> list[bytes]:
    """The audit path PATH(index, D[size]) of section 2.1.1, leaf's sibling first."""
    if not 0 <= index < size:
        raise ProofError(f"entry {index} is not in a tree of {size} entries")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(root(middle, end))
            end = middle
        else:
            path.append(root(start, middle))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, root: RangeRoot) -> list[bytes]:
    """PROOF(old, D[new]) of section 2.1.2: that the tree of `old` leaves is a prefix of the tree of `new`."""
    if not 0 < old <= new:
        raise ProofError(f"there is no consistency proof from {old} to {new} entries")
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while old != end - start:
        middle = _split(end - start)
        if old <= middle:
            path.append(root(start + middle, end))
            end = start + middle
        else:
            path.append(root(start, start + middle))
            start += middle
            old -= middle
            whole = False
    if not whole:
        path.append(root(start, end))
    return path[::-1]


def root_from_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes]) -> bytes:
    """The root that an inclusion proof leads to (RFC 9162, section 2.1.3.2). Raises ProofError."""
    if not 0 <= index < size:
        raise ProofError(f"entry {index} is not in a tree of {size} entries")
    if any(len(given) != 32 for given in (leaf, *proof)):
        raise ProofError("a hash in the proof is not 32 bytes long")
    at, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise ProofError("the proof is too long")
        if at & 1 or at == last:
            found = node_hash(sibling, found)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        at >>= 1
        last >>= 1
    if last:
        raise ProofError("the proof is too short")
    return found


def check_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Raises ProofError unless `leaf` is entry `index` of the tree with this size and root."""
    if root_from_inclusion(index, size, leaf, proof) != root:
        raise ProofError(f"the proof does not lead from entry {index} to the signed root")


def check_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Raises ProofError unless the tree of `new` leaves continues that of `old` (RFC 9162, 2.1.4.2)."""
    if not 0 < old <= new:
        raise ProofError(f"there is no consistency proof from {old} to {new} entries")
    if old == new:
        if proof or old_root != new_root:
            raise ProofError(f"two different trees of {old} entries")
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofError("the proof is too short")
    if any(len(node) != 32 for node in path):
        raise ProofError("a hash in the proof is not 32 bytes long")
    at, last = old - 1, new - 1
    while at & 1:
        at >>= 1
        last >>= 1
    first = second = path[0]
    for node in path[1:]:
        if last == 0:
            raise ProofError("the proof is too long")
        if at & 1 or at == last:
            first = node_hash(node, first)
            second = node_hash(node, second)
            while at and not at & 1:
                at >>= 1
                last >>= 1
        else:
            second = node_hash(second, node)
        at >>= 1
        last >>= 1
    if last or first != old_root or second != new_root:
        raise ProofError(f"the tree of {new} entries does not continue the tree of {old}")
