"""What is kept about a bucket of symbols in case the hot store is lost, and so that a silence is told once."""

from __future__ import annotations

import zlib
from hashlib import blake2b

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from foliostream.domain.instrument import Instrument, expires_at_ms
from foliostream.domain.price import Price, PriceUpdate

# Prices are mostly digits and names of fields: a third remains.
_COMPRESSION_LEVEL = 6


class Kept(Struct, frozen=True, omit_defaults=True):
    """About one symbol. ``stale_quote_ts_ms`` and ``stale_last_ts_ms``: the part of the price whose staleness was told
    to the dependents (0: none). ``instrument``: digest of it as last seen; ``recheck_at_ms``: when its dependents are
    to be valued once more because it changed (0: not)."""

    price: Price | None = None
    stale_quote_ts_ms: int = 0
    stale_last_ts_ms: int = 0
    instrument: str = ""
    recheck_at_ms: int = 0


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Kept])


def encode(kept: dict[str, Kept]) -> bytes:
    """Compressed JSON; amounts as strings, exact as they are."""
    return zlib.compress(_encoder.encode(kept), _COMPRESSION_LEVEL)


def decode(raw: bytes | None) -> dict[str, Kept]:
    """The inverse; nothing kept is nothing known."""
    return {} if raw is None else _decoder.decode(zlib.decompress(raw))


def digest(instrument: Instrument) -> str:
    """Another one for every change of the instrument."""
    return blake2b(_encoder.encode(instrument), digest_size=8).hexdigest()


def stale_parts(price: Price, instrument: Instrument, stale_after_ms: int, now_ms: int) -> tuple[int, int]:
    """The times of quote and last as far as they are stale at ``now_ms`` (0: fresh, or none). ``stale_after_ms``:
    the age limit of instruments that name none."""
    parts = (price.quote_ts_ms, price.last_ts_ms)
    quote, last = (
        ts_ms if ts_ms and expires_at_ms(instrument, ts_ms, stale_after_ms) <= now_ms else 0 for ts_ms in parts
    )
    return quote, last


def restoring(symbol: str, kept: Price, stored: Price | None) -> list[PriceUpdate]:
    """The updates that bring back what ``stored`` lacks of the kept price, by the rule of ``price.merge``; none for a
    part that is as new: of two prices of one time the hot store has the later arrival."""
    there = stored or Price()
    parts = []
    if (kept.quote_ts_ms, kept.quote_seq) > (there.quote_ts_ms, there.quote_seq):
        parts.append(PriceUpdate(symbol, kept.quote_ts_ms, kept.quote_seq, bid=kept.bid, ask=kept.ask))
    if (kept.last_ts_ms, kept.last_seq) > (there.last_ts_ms, there.last_seq):
        parts.append(PriceUpdate(symbol, kept.last_ts_ms, kept.last_seq, last=kept.last))
    if not parts:
        return []
    *older, newest = sorted(parts, key=lambda update: update.order)
    # Open and previous close came with the newest part, or before it.
    return [*older, replace(newest, open=kept.open, previous_close=kept.previous_close)]
