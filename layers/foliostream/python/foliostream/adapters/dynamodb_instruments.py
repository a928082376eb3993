"""The registry of instruments on DynamoDB, remembered for a minute in each container."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from foliostream.adapters.dynamodb_batch import batch_get, our_errors
from foliostream.domain.instrument import Instrument
from foliostream.ports import Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CACHE_MS: Final = 60_000
CACHE_SIZE_MAX: Final = 20_000

_encoder = msgspec.json.Encoder(decimal_format="string")
_decoder = msgspec.json.Decoder(Instrument)


def encode(instrument: Instrument) -> str:
    """JSON with every Decimal as a string: lossless and readable in a table browser."""
    return _encoder.encode(instrument).decode()


def decode(raw: str) -> Instrument:
    """The inverse of ``encode``."""
    return _decoder.decode(raw)


class _Cached(NamedTuple):
    instrument: Instrument
    read_at_ms: int


class DynamoDbInstruments:
    """Implements ``ports.Instruments``: items pk ``INSTRUMENT#{symbol}``, sk ``INSTRUMENT``, and for those with a
    token pk ``INSTRUMENT_TOKEN#{token}``, sk ``INSTRUMENT``.

    What was found serves for 60 s; what was not found is looked up every time, so a new instrument is known at once.
    The cache holds at most 20,000 instruments, those read longest ago go first.
    """

    def __init__(self, client: DynamoDBClient, table: str, clock: Clock) -> None:
        self._client = client
        self._table = table
        self._clock = clock
        self._cache: dict[str, _Cached] = {}  # in the order of reading
        self._tokens: dict[str, str] = {}  # symbols; each is true only if the instrument still has the token

    def get(self, symbols: Collection[str]) -> dict[str, Instrument]:
        """Those registered, by symbol."""
        now_ms = self._clock.now_ms()
        found = {symbol: entry.instrument for symbol in symbols if (entry := self._fresh(symbol, now_ms))}
        missing = [symbol for symbol in symbols if symbol not in found]
        if missing:
            for instrument in self._read(missing):
                found[instrument.symbol] = instrument
                self._remember(instrument, now_ms)
        return found

    def by_token(self, tokens: Collection[str]) -> dict[str, str]:
        """Symbols of those registered with the broker's token."""
        found = self._having({token: self._tokens[token] for token in tokens if token in self._tokens})
        missing = [_token_key(token) for token in tokens if token not in found]
        if missing:
            items = batch_get(self._client, self._table, missing)
            read = {item["pk"]["S"].partition("#")[2]: item["symbol"]["S"] for item in items}
            if len(self._tokens) + len(read) > CACHE_SIZE_MAX:
                self._tokens.clear()
            self._tokens |= read
            found |= self._having(read)
        return found

    def _having(self, symbols: Mapping[str, str]) -> dict[str, str]:
        """Those whose instrument has the token it is named by: an item stays when an instrument gets another."""
        known = self.get(set(symbols.values()))
        return {token: name for token, name in symbols.items() if name in known and known[name].token == token}

    def put(self, instrument: Instrument) -> None:
        """Register or replace; this container sees it at once, the others within a minute."""
        if instrument.token is not None:
            # First: until the instrument has the token too, the item means nothing.
            item = _token_key(instrument.token) | {"symbol": {"S": instrument.symbol}}
            with our_errors(f"PutItem on {self._table}"):
                self._client.put_item(TableName=self._table, Item=item)
            self._tokens.pop(instrument.token, None)
        item = _key(instrument.symbol) | {"instrument": {"S": encode(instrument)}}
        with our_errors(f"PutItem on {self._table}"):
            self._client.put_item(TableName=self._table, Item=item)
        self._remember(instrument, self._clock.now_ms())

    def _fresh(self, symbol: str, now_ms: int) -> _Cached | None:
        entry = self._cache.get(symbol)
        return entry if entry and 0 <= now_ms - entry.read_at_ms < CACHE_MS else None

    def _read(self, symbols: Collection[str]) -> list[Instrument]:
        items = batch_get(self._client, self._table, [_key(symbol) for symbol in symbols])
        return [decode(item["instrument"]["S"]) for item in items]

    def _remember(self, instrument: Instrument, now_ms: int) -> None:
        self._cache.pop(instrument.symbol, None)
        self._cache[instrument.symbol] = _Cached(instrument, now_ms)
        if len(self._cache) > CACHE_SIZE_MAX:
            del self._cache[next(iter(self._cache))]


def _token_key(token: str) -> dict[str, Any]:
    return {"pk": {"S": f"INSTRUMENT_TOKEN#{token}"}, "sk": {"S": "INSTRUMENT"}}


def _key(symbol: str) -> dict[str, Any]:
    return {"pk": {"S": f"INSTRUMENT#{symbol}"}, "sk": {"S": "INSTRUMENT"}}
