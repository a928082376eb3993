"""The registry of instruments on DynamoDB, remembered for a minute in each container."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from foliostream.adapters.dynamodb_batch import batch_get, our_errors
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import stable_hash
from foliostream.ports import SYMBOL_BUCKETS, Clock

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

CACHE_MS: Final = 60_000
CACHE_SIZE_MAX: Final = 20_000
INDEX: Final = "by_sequence"

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
    token pk ``INSTRUMENT_TOKEN#{token}``, sk ``INSTRUMENT``. In the table's index they are listed by bucket (listing
    ``INSTRUMENTS#{bucket}``, sequence a hash of the symbol) with their record.

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
        item = _key(instrument.symbol) | _walked(instrument.symbol) | {"record": {"S": encode(instrument)}}
        with our_errors(f"PutItem on {self._table}"):
            self._client.put_item(TableName=self._table, Item=item)
        self._remember(instrument, self._clock.now_ms())

    def walk(self, bucket: int) -> list[Instrument]:
        """All of a bucket, from the index."""
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": INDEX,
            "KeyConditionExpression": "listing = :listing",
            "ExpressionAttributeNames": {"#record": "record"},
            "ExpressionAttributeValues": {":listing": {"S": _bucket(bucket)}},
            "ProjectionExpression": "#record",
        }
        found: list[Instrument] = []
        while True:
            with our_errors(f"Query on {self._table}"):
                answer: Any = self._client.query(**query)
            found += [decode(item["record"]["S"]) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return found
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _fresh(self, symbol: str, now_ms: int) -> _Cached | None:
        entry = self._cache.get(symbol)
        return entry if entry and 0 <= now_ms - entry.read_at_ms < CACHE_MS else None

    def _read(self, symbols: Collection[str]) -> list[Instrument]:
        items = batch_get(self._client, self._table, [_key(symbol) for symbol in symbols])
        return [decode(item["record"]["S"]) for item in items]

    def _remember(self, instrument: Instrument, now_ms: int) -> None:
        self._cache.pop(instrument.symbol, None)
        self._cache[instrument.symbol] = _Cached(instrument, now_ms)
        if len(self._cache) > CACHE_SIZE_MAX:
            del self._cache[next(iter(self._cache))]


def _token_key(token: str) -> dict[str, Any]:
    return {"pk": {"S": f"INSTRUMENT_TOKEN#{token}"}, "sk": {"S": "INSTRUMENT"}}


def _walked(symbol: str) -> dict[str, Any]:
    number = stable_hash(symbol)
    return {"listing": {"S": _bucket(number % SYMBOL_BUCKETS)}, "sequence": {"N": str(number)}}


def _bucket(bucket: int) -> str:
    return f"INSTRUMENTS#{bucket}"


def _key(symbol: str) -> dict[str, Any]:
    return {"pk": {"S": f"INSTRUMENT#{symbol}"}, "sk": {"S": "INSTRUMENT"}}
