"""What is wrong with a mask, told when its rule loads and not first when a response has to be masked."""

from __future__ import annotations

from collections.abc import Iterator

from callgate.decision import Mask
from callgate.masking.detect import check_names
from callgate.masking.paths import compile_path


def mask_mistakes(mask: Mask) -> Iterator[tuple[str, str]]:
    """(key of the rule, message) for each path and pattern that masks do not support."""
    inside = () if mask.inside is None else (mask.inside,)
    for key, texts in (("response", mask.paths), ("inside", inside)):
        for text in texts:
            try:
                compile_path(text)
            except ValueError as error:
                yield key, str(error)
    try:
        check_names(mask.detect)
    except ValueError as error:
        yield "detect", str(error)
