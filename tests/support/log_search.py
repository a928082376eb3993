"""Finds in logs what must never be there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping

from local import kite

# Each with why it is one. A public key, a portfolio's id or an e-mail-like subject is none.
SECRETS: Mapping[str, re.Pattern[str]] = {
    "a token": re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"),
    "a bearer header": re.compile(r"bearer +[\w.~+/=-]{16,}", re.IGNORECASE),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"),
    "a password in an address": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/@:]*:[^\s/@]+@"),
    "the broker's secret": re.compile(re.escape(kite.API_SECRET)),
    "the token of a broker's account": re.compile(rf"\btoken-(?:{'|'.join(kite.ACCOUNTS)})\b"),
    "a ticket": re.compile(r"\bticket\W{1,6}[\w-]{20,}"),
    "a header with a proof": re.compile(r"[\"']Authorization[\"']\s*:", re.IGNORECASE),
    "a private key of a set": re.compile(r"[\"']d[\"']\s*:\s*[\"'][\w-]{40,}"),
}
FORGED = "forged-by-a-client"


def secrets(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """What was found and the line, cut."""
    for line in lines:
        for what, pattern in SECRETS.items():
            if found := pattern.search(line):
                yield what, line[max(0, found.start() - 200) : found.start() + 20]


def forged(lines: Iterable[str]) -> list[str]:
    """Lines that a client wrote: of its own level, or beginning with its text. ``lines``: ``group  message``."""
    return [line for line in lines if FORGED in line and _is_of_a_client(line.partition("  ")[2])]


def _is_of_a_client(message: str) -> bool:
    if message.lstrip().startswith(FORGED):
        return True
    try:
        record = json.loads(message)
    except ValueError:
        return False
    return isinstance(record, dict) and FORGED in str(record.get("level", ""))
