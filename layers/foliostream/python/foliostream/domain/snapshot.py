"""A snapshot as it is stored: what a portfolio was worth, and the very prices it was valued from."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec
from msgspec import Raw, Struct

from foliostream.domain.margin_status import MarginStatus
from foliostream.domain.price import Price
from foliostream.domain.state import CalcStatus


class Snapshot(Struct, frozen=True, array_like=True):
    """One book version and one set of prices (G5). ``total_value``: exact, in base, of a margin account its equity;
    None while something is unpriced. ``read_at_ms``: the valuer's clock before its first read; ``fresh_until_ms``:
    from then on some price is stale. Everything else the contract shows is rendered from book and prices on reading.

    ``margin``: where a margin account stands then, None for any other.

    Fields are stored by their place: new ones come last, with a default.
    """

    portfolio_id: str
    owner: str
    version: int
    ledger_version: int
    read_at_ms: int
    fresh_until_ms: int
    calc_status: CalcStatus
    total_value: Decimal | None
    encoded_prices: Raw
    margin: MarginStatus | None = None

    @property
    def prices(self) -> dict[str, Price]:
        """By symbol: those of the book's ``symbols`` that had one, positions and pairs alike. Decoded each time."""
        return _decode_prices(self.encoded_prices)


_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Snapshot)
_decode_prices = msgspec.json.Decoder(dict[str, Price]).decode


def encode_price(symbol: str, price: Price) -> bytes:
    """One symbol's share of ``encoded_prices``: encoded once, it goes into every snapshot that depends on it."""
    return _encoder.encode(symbol) + b":" + _encoder.encode(price)


def joined(encoded: Iterable[bytes]) -> Raw:
    """``encoded_prices`` of what ``encode_price`` made; what is empty counts for nothing."""
    return Raw(b"{" + b",".join(filter(None, encoded)) + b"}")


def encode(snapshot: Snapshot) -> bytes:
    """A JSON array, every Decimal a string: exact, a tenth of the state that is rendered of it, still readable."""
    return _encoder.encode(snapshot)


def decode(raw: bytes) -> Snapshot:
    """The inverse of ``encode``; ``msgspec.ValidationError`` for anything else, prices apart: they are read when they
    are asked for."""
    return _decoder.decode(raw)
