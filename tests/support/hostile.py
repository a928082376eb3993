"""Names and bodies that somebody might try, for the API in one process and for the deployed one."""

from __future__ import annotations

from foliostream.api.requests import MAX_BODY_BYTES

# Separators of keys, of paths and of lines; what names the caller's own things elsewhere; what is too long; what is no
# text at all.
NAMES = (
    "live:12345",
    "a#b",
    "portfolio#a",
    "a|b",
    "{a}",
    "a*",
    "a b",
    "../a",
    "a\nb",
    "a\x00b",
    "\u202ea",
    "x" * 65,
)
# With the status that each has to get.
BODIES = {
    "too large": (b'{"portfolio_name": "' + b"x" * MAX_BODY_BYTES + b'"}', 413),
    "nested": (b'{"updates": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
    "no JSON": (b'{"updates": ', 400),
    "no object": (b'"text"', 400),
    "no text": (b"\xff\xfe\x00", 400),
    "no number": (b'{"updates": NaN}', 400),
}
