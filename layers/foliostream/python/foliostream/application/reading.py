"""What others wrote, read: whatever is wrong with it is one error of our tree, with a code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from foliostream.errors import CallerError

_T = TypeVar("_T")
# What a decoder raises: another document or no JSON, no text, nested a thousand times.
UNREADABLE = (msgspec.MsgspecError, UnicodeError, RecursionError)


def decoded(decoder: msgspec.json.Decoder[_T], raw: str | bytes) -> _T:
    """What the text says; ``CallerError`` (``INVALID_JSON``) if it is no JSON, or nested a thousand times,
    (``INVALID``) if it is another document."""
    try:
        return decoder.decode(raw)
    except msgspec.ValidationError as fault:
        raise CallerError(str(fault), code="INVALID") from None
    except UNREADABLE as fault:
        raise CallerError(f"not JSON: {fault}", code="INVALID_JSON") from None


def asked(event: Mapping[str, Any], kind: type[_T]) -> _T:
    """What whoever invoked a function asks for; ``CallerError`` if nobody can ask for that."""
    try:
        return msgspec.convert(event, kind)
    except UNREADABLE as fault:
        raise CallerError(str(fault), code="INVALID") from None
