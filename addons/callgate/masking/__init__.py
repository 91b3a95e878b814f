"""Masked responses, and parameters that may be stored: pure functions over calls and responses."""

from callgate.masking.eventstream import StreamMasker
from callgate.masking.mistakes import mask_mistakes
from callgate.masking.redact import redact_parameters, redact_text
from callgate.masking.respond import MaskedResponse, mask_head, mask_response, stream_masker
from callgate.masking.worker import MaskWorker

__all__ = [
    "MaskWorker",
    "MaskedResponse",
    "StreamMasker",
    "mask_head",
    "mask_mistakes",
    "mask_response",
    "redact_parameters",
    "redact_text",
    "stream_masker",
]
