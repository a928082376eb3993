"""Opaque cursors: where a list goes on, bound to the one list they are of."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b

from foliostream.errors import CallerError

_CHECKSUM_BYTES = 6


def encode(list_name: str, position: str) -> str:
    """URL-safe. The checksum finds cursors that were changed or are of another list; safety does not rest on it:
    whatever a cursor says, only the caller's own list is read."""
    raw = position.encode()
    return urlsafe_b64encode(_checksum(list_name, raw) + raw).decode().rstrip("=")


def decode(list_name: str, cursor: str) -> str:
    """The position; ``CallerError`` (``INVALID_CURSOR``) for a cursor that is not one of this list."""
    try:
        decoded = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
        checksum, raw = decoded[:_CHECKSUM_BYTES], decoded[_CHECKSUM_BYTES:]
        known = checksum == _checksum(list_name, raw) and cursor == encode(list_name, raw.decode())
    except ValueError:  # not ASCII, not Base64, not UTF-8
        known = False
    if not known:
        raise CallerError("the cursor is not one of this list", code="INVALID_CURSOR")
    return raw.decode()


def _checksum(list_name: str, raw: bytes) -> bytes:
    return blake2b(list_name.encode() + b"\0" + raw, digest_size=_CHECKSUM_BYTES).digest()
