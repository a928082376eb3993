"""Prices in Redis: a readable hash ``market:AAPL`` per symbol, merged by a script."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal

from foliostream.adapters.redis_connection import Argument, Command, RedisConnection, command, script
from foliostream.domain.price import Price, PriceUpdate

_FIELDS = ("bid", "ask", "quote_ts", "quote_seq", "last", "last_ts", "last_seq", "open", "previous_close")
# A symbol's updates go in one call of its script; the server does nothing else meanwhile.
UPDATES_PER_CALL_MAX = 100

# The rule of domain.price.merge. KEYS: the symbol's hash. ARGV: ts, seq, bid, ask, last, open, previous_close of each
# update, empty where it has none. Amounts are never read as numbers. Times and sequence numbers are compared as text,
# since a number of Lua holds 53 bits and an exchange's sequence may have more. ``ts`` is for people who look.
_MERGE = """
local function below(a, b)
  local negative = a:sub(1, 1) == '-'
  if negative ~= (b:sub(1, 1) == '-') then return negative end
  if negative then a, b = b, a end
  if #a ~= #b then return #a < #b end
  return a < b
end
local function older(ts, seq, than_ts, than_seq)
  if ts ~= than_ts then return below(ts, than_ts) end
  return below(seq, than_seq)
end
local stored = redis.call('HMGET', KEYS[1], 'quote_ts', 'quote_seq', 'last_ts', 'last_seq')
local quote_ts, quote_seq = stored[1] or '0', stored[2] or '0'
local last_ts, last_seq = stored[3] or '0', stored[4] or '0'
local new, taken = {}, {}
for at = 1, #ARGV, 7 do
  local ts, seq, bid, ask, last, open, close = unpack(ARGV, at, at + 6)
  local is_quote = (bid ~= '' or ask ~= '') and not older(ts, seq, quote_ts, quote_seq)
  local is_last = last ~= '' and not older(ts, seq, last_ts, last_seq)
  if is_quote then
    quote_ts, quote_seq = ts, seq
    new['bid'], new['ask'], new['quote_ts'], new['quote_seq'] = bid, ask, ts, seq
  end
  if is_last then
    last_ts, last_seq = ts, seq
    new['last'], new['last_ts'], new['last_seq'] = last, ts, seq
  end
  if is_quote or is_last then
    if not older(ts, seq, quote_ts, quote_seq) and not older(ts, seq, last_ts, last_seq) then
      if open ~= '' then new['open'] = open end
      if close ~= '' then new['previous_close'] = close end
    end
    new['ts'] = below(quote_ts, last_ts) and last_ts or quote_ts
  end
  taken[#taken + 1] = (is_quote or is_last) and 1 or 0
end
local put, gone = {}, {}
for field, value in pairs(new) do
  if value == '' then gone[#gone + 1] = field else put[#put + 1] = field; put[#put + 1] = value end
end
if #put > 0 then redis.call('HSET', KEYS[1], unpack(put)) end
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
return taken
"""


class RedisPrices:
    """The port ``Prices``."""

    def __init__(self, connection: RedisConnection) -> None:
        self._redis = connection

    def get(self, symbols: Collection[str]) -> dict[str, Price]:
        """Those that have one."""
        distinct = list(dict.fromkeys(symbols))
        answers = self._redis.call_all([command("HMGET", _key(symbol), *_FIELDS) for symbol in distinct])
        return {symbol: _price(answer) for symbol, answer in zip(distinct, answers, strict=True) if any(answer)}

    def put(self, updates: Sequence[PriceUpdate]) -> list[bool]:
        """Merge; for each whether it was taken."""
        by_symbol: dict[str, list[int]] = {}
        for index, update in enumerate(updates):
            by_symbol.setdefault(update.symbol, []).append(index)
        calls = [
            indexes[start : start + UPDATES_PER_CALL_MAX]
            for indexes in by_symbol.values()
            for start in range(0, len(indexes), UPDATES_PER_CALL_MAX)
        ]
        answers = self._redis.call_all([_merge([updates[index] for index in call]) for call in calls])
        taken = [False] * len(updates)
        for call, answer in zip(calls, answers, strict=True):
            for index, flag in zip(call, answer, strict=True):
                taken[index] = flag == 1
        return taken


def _key(symbol: str) -> str:
    return f"market:{symbol}"


def _merge(updates: Sequence[PriceUpdate]) -> Command:
    arguments: list[Argument] = []
    for update in updates:
        amounts = (update.bid, update.ask, update.last, update.open, update.previous_close)
        arguments += (update.ts_ms, update.seq, *map(_text, amounts))
    return script(_MERGE, [_key(updates[0].symbol)], arguments)


def _text(value: Decimal | None) -> str:
    return "" if value is None else format(value, "f")


def _amount(raw: bytes | None) -> Decimal | None:
    return None if raw is None else Decimal(raw.decode())


def _price(answer: Sequence[bytes | None]) -> Price:
    bid, ask, quote_ts, quote_seq, last, last_ts, last_seq, opened, previous_close = answer
    return Price(
        bid=_amount(bid),
        ask=_amount(ask),
        quote_ts_ms=int(quote_ts or 0),
        quote_seq=int(quote_seq or 0),
        last=_amount(last),
        last_ts_ms=int(last_ts or 0),
        last_seq=int(last_seq or 0),
        open=_amount(opened),
        previous_close=_amount(previous_close),
    )
