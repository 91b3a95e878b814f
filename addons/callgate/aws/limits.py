"""Bounds on the parameters of a call: what is over them is refused before it is built."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from callgate.call import Refusal

DEEPEST = 100
"""More levels than this no setting permits: the readers recurse."""
# Strings hold commas and brackets as well. One that does not end takes the rest, so that time stays linear.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|([,\[{])', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Limits:
    """`decoded`: bytes of a body without its content coding. `depth`: levels below its root, `DEEPEST` at
    most. `parameters`: values in it, on all levels; in a query its pairs, in XML its elements.
    """

    decoded: int = 32 * 1024 * 1024
    depth: int = DEEPEST
    parameters: int = 200_000

    def too_large(self) -> Refusal:
        """The refusal of a body over `decoded`."""
        return Refusal("body-too-large", f"The body decodes to more than {self.decoded} bytes.", status=413)

    def too_deep(self) -> Refusal:
        """The refusal of a body over `depth`."""
        return Refusal("too-deep", f"The body is nested more than {self.depth} levels deep.", status=413)

    def judge_count(self, count: int) -> None:
        """Raises Refusal if `count` values are too many."""
        if count > self.parameters:
            raise Refusal(
                "too-many-parameters", f"The body has more than {self.parameters} values.", status=413
            )

    def judge_json(self, body: bytes) -> None:
        """Raises Refusal if JSON text has too many values, an empty object or list counted twice. Of what is
        no JSON it says nothing.
        """
        if body.count(b",") + body.count(b"[") + body.count(b"{") > self.parameters:
            found = (token for token in _TOKEN.finditer(body) if token[1])
            self.judge_count(sum(1 for _ in itertools.islice(found, self.parameters + 1)))

    def judge_depth(self, root: Any) -> None:
        """Raises Refusal if a value of JSON, or an XML element, is nested too deeply."""
        level, depth = [root], 0
        while level := [child for each in level for child in _children(each)]:
            depth += 1
            if depth > self.depth:
                raise self.too_deep()


DEFAULT = Limits()
"""The defaults."""


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list | Element) else ()
