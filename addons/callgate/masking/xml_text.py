"""XML as text: read without doubt, and changed where its elements stand (XML 1.0).

expat reads the whole document into a tree, as SDKs do; elements that change are then looked up in the text:
the n-th element of the tree has the n-th start tag. Documents with a DOCTYPE are refused, and encodings other
than UTF-8.
"""

from __future__ import annotations

import bisect
import codecs
import re
from collections.abc import Iterator
from itertools import islice
from typing import Final
from xml.etree import ElementTree
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from callgate.masking.edits import Edits, unreadable
from callgate.masking.ways import FIXED

DECLARATION: Final = re.compile(rb"<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"']*)[\"']")
REMARK: Final = rb"<!--.*?-->|<!\[CDATA\[.*?\]\]>|<\?.*?\?>"
TAG: Final = rb"<[^\s/<>!?]+(?:\s+[^\s=]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*\s*/?>"

FIXED_TEXT: Final = FIXED.encode()

_start_tag = re.compile(TAG).match
_plain_starts = re.compile(rb"<[^/?]").finditer
_any_starts = re.compile(rb"(?s:%s)|(<[^/])" % REMARK).finditer
_tags = re.compile(rb"(?s:%s)|(</)|(%s)" % (REMARK, TAG)).finditer


def parse(body: bytes) -> Element:
    """The tree of `body`. Refusal (502) for what is not well-formed UTF-8 XML without DOCTYPE."""
    declared = DECLARATION.match(body)
    if declared and declared[1].lower() not in (b"utf-8", b"us-ascii"):
        raise unreadable("the body is XML in an encoding other than UTF-8")
    # expat believes a byte order mark more than it believes us.
    if b"\0" in body or b"<!DOCTYPE" in body or body.startswith(codecs.BOM_UTF8) or not _is_utf8(body):
        raise unreadable("the body is not XML in plain UTF-8 without DOCTYPE")
    try:
        return ElementTree.fromstring(body, ElementTree.XMLParser(encoding="utf-8"))
    except ElementTree.ParseError:
        raise unreadable("the body is not well-formed XML") from None


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


class Rewriting:
    """What is to be done with which element of one document, and how it is done."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.contents: dict[Element, str | None] = {}
        """Element -> what it shall contain; None for those that go."""
        self.attributes: dict[Element, list[tuple[str, str]]] = {}
        self.remarks = b"<!--" in body or body.rfind(b"<?") > 0

    def splice(self, root: Element) -> bytes:
        """The body with everything done that was collected. Refusal (502) for comments in what stays."""
        edits: Edits[bytes] = Edits()
        if self.contents or self.attributes:
            self.put_all(edits, root)
        if self.remarks:
            self.check_remarks(edits)
        return edits.splice(self.body)

    def put_all(self, edits: Edits[bytes], root: Element) -> None:
        changed = self.contents.keys() | self.attributes.keys()
        wanted = [(index, element) for index, element in enumerate(root.iter()) if element in changed]
        starts = self.starts()
        passed = following = 0
        for index, element in wanted:
            at = next(islice(starts, index - following, None)).start()
            following = index + 1
            if at < passed:
                # What holds it has gone already.
                continue
            found = _start_tag(self.body, at)
            if found is None:
                raise unreadable("a start tag cannot be found where it stands")
            for name, new in self.attributes.get(element, ()):
                self.put_attribute(edits, found, name, new)
            if element in self.contents:
                passed = self.put_content(edits, found, self.contents[element])

    def check_remarks(self, edits: Edits[bytes]) -> None:
        """Comments and processing instructions must go with what is masked: no path says what they hold."""
        gone = sorted((start, end) for start, end, _ in edits.changes)
        for found in _any_starts(self.body):
            if not found.start() or not found[0].startswith((b"<!--", b"<?")):
                continue
            before = bisect.bisect(gone, (found.start(), len(self.body))) - 1
            if before < 0 or found.start() >= gone[before][1]:
                raise unreadable("the body has comments beside what is masked")

    def starts(self) -> Iterator[re.Match[bytes]]:
        """The start tags, in document order."""
        if b"<!" in self.body or self.remarks:
            return (found for found in _any_starts(self.body) if found[1])
        return _plain_starts(self.body)

    @staticmethod
    def put_attribute(edits: Edits[bytes], tag: re.Match[bytes], name: str, new: str) -> None:
        pattern = rb"\s(?:[^\s=:]+:)?%s\s*=\s*(\"[^\"]*\"|'[^']*')" % re.escape(name.encode())
        places = list(re.finditer(pattern, tag[0]))
        if len(places) != 1:
            raise unreadable("an attribute cannot be found where it stands")
        edits.put(tag.start() + places[0].start(1), tag.start() + places[0].end(1), quoteattr(new).encode())

    def put_content(self, edits: Edits[bytes], tag: re.Match[bytes], new: str | None) -> int:
        """Give the element of `tag` a new content, or take it away (None); gives where its old content
        ended."""
        empty = tag[0].endswith(b"/>")
        close = tag.end() if empty else self.close(tag.end())
        if new is None:
            end = tag.end() if empty else self.body.index(b">", close) + 1
            edits.put(tag.start(), end, b"")
            return end
        text = FIXED_TEXT if new == FIXED else escape(new, {"\r": "&#13;"}).encode()
        if not empty:
            edits.put(tag.end(), close, text)
        elif text:
            name = re.split(rb"[\s/>]", tag[0][1:], maxsplit=1)[0]
            edits.put(tag.end() - 2, tag.end(), b">%s</%s>" % (text, name))
        return close

    def close(self, at: int) -> int:
        """Where the end tag stands of the element whose content begins at `at`."""
        first = self.body.find(b"<", at)
        if self.body.startswith(b"</", first):
            return first
        depth = 0
        for found in _tags(self.body, at):
            if found[1]:
                if not depth:
                    return found.start()
                depth -= 1
            elif found[2] and not found[2].endswith(b"/>"):
                depth += 1
        raise unreadable("an end tag cannot be found")
