"""Books, snapshots and watchers in Redis. A portfolio's keys share the slot of its shard:

- ``head:{s17}:12345``: JSON array: the head's fields and the token of the attempt that wrote it
- ``snapshot:{s17}:12345``: the encoded state
- ``book:{s17}:12345``: ledger version, a blank, the encoded portfolio
- ``watchers:{s17}:12345``: hash of connection id -> end of its lease in epoch milliseconds
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from foliostream.adapters.hot_codec import WATCHERS_MAX, head_of, too_many_watchers, write_token
from foliostream.adapters.redis_connection import Argument, Command, RedisConnection, command, script
from foliostream.domain import portfolio as portfolios
from foliostream.domain.keys import shard_of
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.valuation import encode_state
from foliostream.ports import Candidate, Clock, Head, Saved, Stored, StoredSnapshot

# The server does nothing else during a command: this many portfolios are a millisecond of it or less, and large ones
# (up to a megabyte) end a script call earlier.
READ_PORTFOLIOS_MAX = 500
SAVE_PORTFOLIOS_MAX = 250
SAVE_BYTES_MAX = 4_000_000

# KEYS: book. ARGV: version, value. The stored version is in the first bytes of the value.
_PUT_BOOK = """
local stored = string.match(redis.call('GETRANGE', KEYS[1], 0, 20), '^(%d+) ')
if stored and tonumber(stored) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""

# KEYS: head, snapshot, watchers of each. ARGV: read_at_ms, expected head without its token (empty: none), new head,
# body of each. Answers for each with the live watchers if the candidate stands, else with the head that refused it.
_SAVE = """
local answers = {}
for number = 0, #KEYS / 3 - 1 do
  local head, snapshot, watchers = unpack(KEYS, 3 * number + 1, 3 * number + 3)
  local read_at, expected, new, body = unpack(ARGV, 4 * number + 1, 4 * number + 4)
  local current = redis.call('GET', head)
  local as_expected = not current and expected == ''
    or current and expected ~= '' and string.sub(current, 1, #expected) == expected
  if as_expected then
    redis.call('SET', head, new)
    redis.call('SET', snapshot, body)
  end
  if as_expected or current == new then
    local leases, live = redis.call('HGETALL', watchers), {}
    for at = 1, #leases, 2 do
      if tonumber(leases[at + 1]) > tonumber(read_at) then
        live[#live + 1] = leases[at]
      else
        redis.call('HDEL', watchers, leases[at])
      end
    end
    answers[number + 1] = live
  else
    answers[number + 1] = current
  end
end
return answers
"""

# KEYS: watchers. ARGV: connection id, lease, limit, now. A full hash is cleared of ended leases first.
_WATCH = """
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 and redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then
  local leases = redis.call('HGETALL', KEYS[1])
  for at = 1, #leases, 2 do
    if tonumber(leases[at + 1]) <= tonumber(ARGV[4]) then redis.call('HDEL', KEYS[1], leases[at]) end
  end
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""

_encode_json = msgspec.json.Encoder().encode
_decode_head = msgspec.json.Decoder(tuple[int, int, int, int, str, str]).decode


class RedisPortfolios:
    """The ports ``Books`` and ``Snapshots``."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        self._redis = connection
        self._clock = clock

    def put_book(self, portfolio: Portfolio) -> None:
        """Store it unless the stored one is as new or newer."""
        value = b"%d " % portfolio.version + portfolios.encode(portfolio)
        key = self._key("book", portfolio.portfolio_id)
        self._redis.call_all([script(_PUT_BOOK, [key], [portfolio.version, value])])

    def load(self, portfolio_ids: Sequence[str]) -> dict[str, Stored]:
        """One MGET per shard reads heads and books at one moment."""
        return {
            portfolio_id: Stored(_head(head), _book(book))
            for portfolio_id, head, book in self._read(portfolio_ids, "head", "book")
        }

    def read(self, portfolio_ids: Sequence[str]) -> dict[str, StoredSnapshot]:
        """Those that exist."""
        found = {}
        for portfolio_id, raw_head, body in self._read(portfolio_ids, "head", "snapshot"):
            head = _head(raw_head)
            if head is not None and body is not None:
                found[portfolio_id] = StoredSnapshot(head, body)
        return found

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        """One script call per shard and bounded part; answers in the order given."""
        token = write_token()
        encoded = [encode_state(candidate.snapshot.state) for candidate in candidates]
        calls = list(self._parts(candidates, encoded))
        commands = [self._save([candidates[i] for i in call], [encoded[i] for i in call], token) for call in calls]
        saved: list[Saved] = [Saved(written=False, watchers=[], current=None)] * len(candidates)
        for call, answers in zip(calls, self._redis.call_all(commands), strict=True):
            for index, answer in zip(call, answers, strict=True):
                saved[index] = _saved(answer)
        return saved

    def watch(self, portfolio_id: str, connection_id: str, lease_until_ms: int) -> None:
        """Register a watcher, or move the end of its lease."""
        arguments: list[Argument] = [connection_id, lease_until_ms, WATCHERS_MAX, self._clock.now_ms()]
        [accepted] = self._redis.call_all([script(_WATCH, [self._key("watchers", portfolio_id)], arguments)])
        if not accepted:
            raise too_many_watchers(portfolio_id)

    def unwatch(self, portfolio_id: str, connection_ids: Collection[str]) -> None:
        """Remove watchers."""
        if connection_ids:
            self._redis.call_all([command("HDEL", self._key("watchers", portfolio_id), *connection_ids)])

    def _key(self, kind: str, portfolio_id: str) -> str:
        return f"{kind}:{{s{shard_of(portfolio_id, self._redis.shards)}}}:{portfolio_id}"

    def _read(
        self, portfolio_ids: Sequence[str], first: str, second: str
    ) -> Iterator[tuple[str, bytes | None, bytes | None]]:
        """Two values of each portfolio, read at one moment."""
        calls = [
            part[start : start + READ_PORTFOLIOS_MAX]
            for part in self._by_shard(list(dict.fromkeys(portfolio_ids))).values()
            for start in range(0, len(part), READ_PORTFOLIOS_MAX)
        ]
        commands = []
        for shard_ids in calls:
            tag = f":{{s{shard_of(shard_ids[0], self._redis.shards)}}}:"
            names = [kind + tag + portfolio_id for portfolio_id in shard_ids for kind in (first, second)]
            commands.append(command("MGET", *names))
        for shard_ids, values in zip(calls, self._redis.call_all(commands), strict=True):
            yield from zip(shard_ids, values[::2], values[1::2], strict=True)

    def _by_shard(self, portfolio_ids: Sequence[str]) -> dict[int, list[str]]:
        parts: dict[int, list[str]] = {}
        for portfolio_id in portfolio_ids:
            parts.setdefault(shard_of(portfolio_id, self._redis.shards), []).append(portfolio_id)
        return parts

    def _parts(self, candidates: Sequence[Candidate], encoded: Sequence[bytes]) -> Iterator[list[int]]:
        """Indexes of candidates that go in one script call."""
        open_parts: dict[int, tuple[list[int], int]] = {}
        for index, candidate in enumerate(candidates):
            shard = shard_of(candidate.snapshot.state.portfolio_id, self._redis.shards)
            part, size = open_parts.get(shard, ([], 0))
            if part and (len(part) == SAVE_PORTFOLIOS_MAX or size + len(encoded[index]) > SAVE_BYTES_MAX):
                yield part
                part, size = [], 0
            part.append(index)
            open_parts[shard] = part, size + len(encoded[index])
        yield from (part for part, _ in open_parts.values())

    def _save(self, candidates: Sequence[Candidate], encoded: Sequence[bytes], token: str) -> Command:
        keys: list[str] = []
        arguments: list[Argument] = []
        tag = f":{{s{shard_of(candidates[0].snapshot.state.portfolio_id, self._redis.shards)}}}:"
        for candidate, body in zip(candidates, encoded, strict=True):
            suffix = tag + candidate.snapshot.state.portfolio_id
            keys += ("head" + suffix, "snapshot" + suffix, "watchers" + suffix)
            new = _encode_json((*head_of(candidate.snapshot), token))
            expected = b"" if candidate.expected is None else _encode_json(candidate.expected)[:-1] + b","
            arguments += (candidate.snapshot.read_at_ms, expected, new, body)
        return script(_SAVE, keys, arguments)


def _head(raw: bytes | None) -> Head | None:
    return None if raw is None else Head(*_decode_head(raw)[:-1])


def _book(raw: bytes | None) -> bytes | None:
    return None if raw is None else raw[raw.index(b" ") + 1 :]


def _saved(answer: list[bytes] | bytes | None) -> Saved:
    if isinstance(answer, list):
        return Saved(written=True, watchers=[connection.decode() for connection in answer], current=None)
    return Saved(written=False, watchers=[], current=_head(answer))
