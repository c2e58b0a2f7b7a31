"""Buffers as text for a snapshot: zlib over little-endian words, in base64."""

from __future__ import annotations

import base64
import zlib

import numpy as np

from agora.kernels.compiled import Rows, Words

_LEVEL = (
    1  # unused records are most of a buffer and vanish at any level; this one is three times as fast as the default
)


def packed(buffer: Words | Rows) -> str:
    """The words of a buffer as text."""
    return base64.b64encode(zlib.compress(np.ascontiguousarray(buffer, dtype="<i8").tobytes(), _LEVEL)).decode("ascii")


def unpack_into(buffer: Words | Rows, text: str) -> None:
    """Overwrite a buffer with packed words. Raises `ValueError` when they are damaged or of another size."""
    try:
        # One byte more than fits, so that a longer buffer is noticed without being unpacked whole.
        content = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), buffer.nbytes + 1)
    except zlib.error as fault:
        raise ValueError(f"a packed buffer is damaged: {fault}") from fault
    if len(content) != buffer.nbytes:
        raise ValueError(f"a packed buffer has {len(content)} bytes, expected {buffer.nbytes}")
    buffer.reshape(-1)[:] = np.frombuffer(content, dtype="<i8")
