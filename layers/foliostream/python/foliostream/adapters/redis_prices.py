"""Prices in Redis: a readable hash ``market:AAPL`` per symbol, merged by a script.

Others may write that hash too, with the fields bid, ask, last, ts, open and previous_close only. Their ``ts`` (epoch
milliseconds or ISO 8601) then is newer than ``quote_ts`` and ``last_ts``, and it is the time of the quote and the last
that stand there. An amount that cannot be read is as if it were not there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal, InvalidOperation

from foliostream.adapters.redis_connection import Argument, Command, RedisConnection, command, script
from foliostream.domain import times
from foliostream.domain.price import Price, PriceUpdate
from foliostream.errors import CallerError

_FIELDS = (
    "bid",
    "ask",
    "quote_ts",
    "quote_seq",
    "last",
    "last_ts",
    "last_seq",
    "open",
    "previous_close",
    "open_ts",
    "previous_close_ts",
    "ts",
)
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
local function epoch_ms(text)
  if text:match('^%d+$') then return text end
  local year, month, day, hour, minute, second, rest =
    text:match('^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d)(.*)$')
  if not year then return '0' end
  local fraction = rest:match('^[.,](%d+)') or ''
  local zone = rest:gsub('^[.,]%d+', '')
  local sign, hours, minutes = zone:match('^([+-])(%d%d):?(%d%d)$')
  if not sign and zone ~= 'Z' and zone ~= 'z' then return '0' end
  local y, m = tonumber(year), tonumber(month)
  if m <= 2 then y, m = y - 1, m + 12 end
  local days = 365 * y + math.floor(y / 4) - math.floor(y / 100) + math.floor(y / 400)
    + math.floor((153 * (m - 3) + 2) / 5) + tonumber(day) - 719469
  local total = ((days * 24 + tonumber(hour)) * 60 + tonumber(minute)) * 60 + tonumber(second)
  if sign then total = total - tonumber(sign .. '1') * (tonumber(hours) * 60 + tonumber(minutes)) * 60 end
  return string.format('%d', total * 1000 + tonumber((fraction .. '000'):sub(1, 3)))
end
local stored = redis.call('HMGET', KEYS[1], 'quote_ts', 'quote_seq', 'last_ts', 'last_seq', 'ts', 'bid', 'ask',
  'last', 'open', 'previous_close')
local quote_ts, quote_seq = stored[1] or '0', stored[2] or '0'
local last_ts, last_seq = stored[3] or '0', stored[4] or '0'
local new, taken, adopted = {}, {}, {}
-- Ours is never newer than both: somebody else has written here since.
if stored[5] and stored[5] ~= quote_ts and stored[5] ~= last_ts then
  local ts = epoch_ms(stored[5])
  if below(quote_ts, ts) and below(last_ts, ts) then
    if stored[6] or stored[7] then
      quote_ts, quote_seq = ts, '0'
      adopted['quote_ts'], adopted['quote_seq'] = ts, '0'
    end
    if stored[8] then
      last_ts, last_seq = ts, '0'
      adopted['last_ts'], adopted['last_seq'] = ts, '0'
    end
    adopted['open_ts'] = stored[9] and ts or ''
    adopted['previous_close_ts'] = stored[10] and ts or ''
  end
end
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
    for field, value in pairs(adopted) do new[field] = new[field] or value end
    if not older(ts, seq, quote_ts, quote_seq) and not older(ts, seq, last_ts, last_seq) then
      if open ~= '' then new['open'], new['open_ts'] = open, ts end
      if close ~= '' then new['previous_close'], new['previous_close_ts'] = close, ts end
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
    if raw is None:
        return None
    try:
        value = Decimal(raw.decode())
    except (InvalidOperation, UnicodeDecodeError):
        return None
    return value if value.is_finite() else None


def _epoch_ms(ts: bytes) -> int:
    try:
        return int(ts) if ts.isdigit() else times.epoch_ms(ts.decode())
    except (CallerError, UnicodeDecodeError):
        return 0


def _price(answer: Sequence[bytes | None]) -> Price:
    bid, ask, quote_ts, quote_seq, last, last_ts, last_seq, opened, previous_close, *session, ts = answer
    quote_order = int(quote_ts or 0), int(quote_seq or 0)
    last_order = int(last_ts or 0), int(last_seq or 0)
    if ts is not None and ts not in (quote_ts, last_ts):
        foreign_ms = _epoch_ms(ts)
        if foreign_ms > max(quote_order[0], last_order[0]):
            quote_order = (foreign_ms, 0) if bid is not None or ask is not None else quote_order
            last_order = (foreign_ms, 0) if last is not None else last_order
            session = []  # what we knew of an open and a previous close that are theirs now
    open_ts, previous_close_ts = session or (None, None)
    return Price(
        bid=_amount(bid),
        ask=_amount(ask),
        quote_ts_ms=quote_order[0],
        quote_seq=quote_order[1],
        last=_amount(last),
        last_ts_ms=last_order[0],
        last_seq=last_order[1],
        open=_amount(opened),
        previous_close=_amount(previous_close),
        open_ts_ms=int(open_ts or 0),
        previous_close_ts_ms=int(previous_close_ts or 0),
    )
