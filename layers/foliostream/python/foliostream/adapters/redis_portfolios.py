"""Books, snapshots and watchers in Redis. A portfolio's keys share the slot of its shard:

- ``head:{s17}:12345``: JSON array: the head's fields and the token of the attempt that wrote it, then the status of a
  margin account
- ``snapshot:{s17}:12345``: the encoded snapshot
- ``book:{s17}:12345``: the encoded portfolio
- ``edition:{s17}:12345``: its ledger version, a blank, a digest of the encoded portfolio: who has it need not read it
- ``watchers:{s17}:12345``: hash of connection id -> end of its lease in epoch milliseconds
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from foliostream.adapters.hot_codec import WATCHERS_MAX, head_of, too_many_watchers, write_token
from foliostream.adapters.redis_connection import Argument, Command, RedisConnection, command, script
from foliostream.domain import account
from foliostream.domain import snapshot as snapshots
from foliostream.domain.account import Portfolio
from foliostream.domain.keys import NAMES_REMEMBERED, shard_of
from foliostream.ports import Candidate, Clock, Head, Saved, Stored, StoredSnapshot
from foliostream.recent import Recent

# The server does nothing else during a command: this many portfolios are a millisecond of it or less, and large ones
# (up to a megabyte) end a script call earlier.
READ_PORTFOLIOS_MAX = 500
SAVE_PORTFOLIOS_MAX = 250
SAVE_BYTES_MAX = 4_000_000

# Books of ten positions are 3 KB; they are shared with who asked for them, not copied.
BOOKS_MAX = 20_000
BOOK_BYTES_MAX = 64_000_000

# KEYS: book, edition. ARGV: version, book, edition.
_PUT_BOOK = """
local stored = redis.call('GET', KEYS[2])
if stored and tonumber(string.match(stored, '^%d+')) >= tonumber(ARGV[1]) then return 0 end
redis.call('MSET', KEYS[1], ARGV[2], KEYS[2], ARGV[3])
return 1
"""

# KEYS: all heads, all snapshots, all watchers. ARGV: all expected heads without their token (empty: none), all new
# heads, all bodies. Answers for each with the live watchers if the candidate stands, else with the head that refused
# it. Heads are read by one command and all that stands is written by one. A head's third number is its read_at_ms.
# Most portfolios are watched by nobody: sixteen at a time are asked whether anybody watches.
_SAVE = """
local answers, written, count, watched = {}, {}, #KEYS / 3, 0
local heads = redis.call('MGET', unpack(KEYS, 1, count))
for number = 1, count do
  if number % 16 == 1 then
    watched = redis.call('EXISTS', unpack(KEYS, 2 * count + number, math.min(2 * count + number + 15, 3 * count)))
  end
  local current, expected, new = heads[number], ARGV[number], ARGV[count + number]
  local as_expected = not current and expected == ''
    or current and expected ~= '' and string.sub(current, 1, #expected) == expected
  if as_expected then
    local at = #written
    written[at + 1], written[at + 2] = KEYS[number], new
    written[at + 3], written[at + 4] = KEYS[count + number], ARGV[2 * count + number]
  end
  if not as_expected and current ~= new then
    answers[number] = current
  elseif watched == 0 then
    answers[number] = 1
  else
    local watchers, live = KEYS[2 * count + number], {}
    local leases = redis.call('HGETALL', watchers)
    local read_at = tonumber(string.match(new, '^%[%d+,%d+,(%d+),'))
    for at = 1, #leases, 2 do
      if tonumber(leases[at + 1]) > read_at then
        live[#live + 1] = leases[at]
      else
        redis.call('HDEL', watchers, leases[at])
      end
    end
    answers[number] = live
  end
end
if #written > 0 then redis.call('MSET', unpack(written)) end
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

# Reading and saving ask for the same shards.
_shard_of = lru_cache(maxsize=NAMES_REMEMBERED)(shard_of)
_NOT_SAVED = Saved(written=False, watchers=[], current=None)
_encode_json = msgspec.json.Encoder().encode


class _StoredHead(Struct, frozen=True, array_like=True):
    """A head as it is stored; new fields come last, with a default."""

    version: int
    ledger_version: int
    read_at_ms: int
    fresh_until_ms: int
    owner: str
    token: str
    margin: str = ""


_decode_head = msgspec.json.Decoder(_StoredHead).decode


class _Book(NamedTuple):
    edition: bytes
    book: bytes


class RedisPortfolios:
    """The ports ``Books`` and ``Snapshots``."""

    def __init__(self, connection: RedisConnection, clock: Clock) -> None:
        self._redis = connection
        self._clock = clock
        self._books: Recent[_Book] = Recent(BOOKS_MAX, BOOK_BYTES_MAX)

    def put_book(self, portfolio: Portfolio) -> None:
        """Store it unless the stored one is as new or newer."""
        book = account.encode(portfolio)
        edition = b"%d " % portfolio.version + blake2b(book, digest_size=8).hexdigest().encode()
        keys = [self._key(kind, portfolio.portfolio_id) for kind in ("book", "edition")]
        self._redis.call_all([script(_PUT_BOOK, keys, [portfolio.version, book, edition])])

    def load(self, portfolio_ids: Sequence[str]) -> dict[str, Stored]:
        """One MGET per shard reads heads and editions at one moment; then the books that were not known or changed."""
        found: dict[str, Stored] = {}
        unknown = []
        for ids, heads, editions in self._read(portfolio_ids, ("head", "edition")):
            for portfolio_id, head, edition in zip(ids, heads, editions, strict=True):
                known = self._books.get(portfolio_id)
                if known is not None and known.edition == edition:
                    found[portfolio_id] = Stored(_head(head), known.book)
                else:
                    found[portfolio_id] = Stored(_head(head), None)
                    if edition is not None:
                        unknown.append(portfolio_id)
        for ids, editions, books in self._read(unknown, ("edition", "book")):
            for portfolio_id, edition, book in zip(ids, editions, books, strict=True):
                found[portfolio_id] = found[portfolio_id]._replace(book=book)
                if edition is not None and book is not None:
                    self._books.put(portfolio_id, _Book(edition, book), len(book))
        return found

    def read(self, portfolio_ids: Sequence[str]) -> dict[str, StoredSnapshot]:
        """Those that exist, each with its book, read at one moment."""
        found = {}
        for ids, *values in self._read(portfolio_ids, ("head", "snapshot", "book")):
            for portfolio_id, head, body, book in zip(ids, *values, strict=True):
                if head is not None and body is not None:
                    found[portfolio_id] = StoredSnapshot(_decoded(head), body, book)
        return found

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        """One script call per shard and bounded part; answers in the order given."""
        token = write_token()
        encoded = [snapshots.encode(candidate.snapshot) for candidate in candidates]
        calls = list(self._parts(candidates, encoded))
        commands = [self._save([candidates[i] for i in call], [encoded[i] for i in call], token) for call in calls]
        saved: list[Saved] = [_NOT_SAVED] * len(candidates)
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

    def watchers(self, portfolio_ids: Collection[str], at_ms: int) -> dict[str, list[str]]:
        """Those whose lease goes on after ``at_ms``; one HGETALL a portfolio, pipelined."""
        ids = list(portfolio_ids)
        answers: list[dict[bytes, bytes]] = self._redis.call_all(
            [command("HGETALL", self._key("watchers", portfolio_id)) for portfolio_id in ids]
        )
        found = {}
        for portfolio_id, leases in zip(ids, answers, strict=True):
            if live := [connection_id.decode() for connection_id, lease in leases.items() if int(lease) > at_ms]:
                found[portfolio_id] = live
        return found

    def _key(self, kind: str, portfolio_id: str) -> str:
        return f"{kind}:{{s{_shard_of(portfolio_id, self._redis.shards)}}}:{portfolio_id}"

    def _read(self, portfolio_ids: Sequence[str], kinds: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Ids of one shard, then their values of each kind, read at one moment."""
        calls = [
            (shard, ids[start : start + READ_PORTFOLIOS_MAX])
            for shard, ids in self._by_shard(list(dict.fromkeys(portfolio_ids))).items()
            for start in range(0, len(ids), READ_PORTFOLIOS_MAX)
        ]
        commands = []
        for shard, ids in calls:
            prefixes = [f"{kind}:{{s{shard}}}:" for kind in kinds]
            commands.append(command("MGET", *[prefix + portfolio_id for prefix in prefixes for portfolio_id in ids]))
        for (_, ids), values in zip(calls, self._redis.call_all(commands), strict=True):
            count = len(ids)
            yield ids, *(values[at : at + count] for at in range(0, len(values), count))

    def _by_shard(self, portfolio_ids: Sequence[str]) -> dict[int, list[str]]:
        parts: dict[int, list[str]] = {}
        for portfolio_id in portfolio_ids:
            parts.setdefault(_shard_of(portfolio_id, self._redis.shards), []).append(portfolio_id)
        return parts

    def _parts(self, candidates: Sequence[Candidate], encoded: Sequence[bytes]) -> Iterator[list[int]]:
        """Indexes of candidates that go in one script call."""
        open_parts: dict[int, tuple[list[int], int]] = {}
        for index, candidate in enumerate(candidates):
            shard = _shard_of(candidate.snapshot.portfolio_id, self._redis.shards)
            part, size = open_parts.get(shard, ([], 0))
            if part and (len(part) == SAVE_PORTFOLIOS_MAX or size + len(encoded[index]) > SAVE_BYTES_MAX):
                yield part
                part, size = [], 0
            part.append(index)
            open_parts[shard] = part, size + len(encoded[index])
        yield from (part for part, _ in open_parts.values())

    def _save(self, candidates: Sequence[Candidate], encoded: Sequence[bytes], token: str) -> Command:
        tag = f":{{s{_shard_of(candidates[0].snapshot.portfolio_id, self._redis.shards)}}}:"
        suffixes = [tag + candidate.snapshot.portfolio_id for candidate in candidates]
        keys = [kind + suffix for kind in ("head", "snapshot", "watchers") for suffix in suffixes]
        arguments: list[Argument] = [_expected(candidate.expected) for candidate in candidates]
        arguments += [_encoded(head_of(candidate.snapshot), token) for candidate in candidates]
        arguments += encoded
        return script(_SAVE, keys, arguments)


def _expected(head: Head | None) -> bytes:
    """All of it but the margin, which stands behind the token."""
    return b"" if head is None else _encode_json(head[:-1])[:-1] + b","


def _encoded(head: Head, token: str) -> bytes:
    *fields, margin = head
    return _encode_json((*fields, token, margin) if margin else (*fields, token))


def _head(raw: bytes | None) -> Head | None:
    return None if raw is None else _decoded(raw)


def _decoded(raw: bytes) -> Head:
    stored = _decode_head(raw)
    return Head(
        stored.version, stored.ledger_version, stored.read_at_ms, stored.fresh_until_ms, stored.owner, stored.margin
    )


def _saved(answer: list[bytes] | int | bytes | None) -> Saved:
    if isinstance(answer, int):  # written, watched by nobody
        return Saved(written=True, watchers=[], current=None)
    if isinstance(answer, list):
        return Saved(written=True, watchers=[connection.decode() for connection in answer], current=None)
    return Saved(written=False, watchers=[], current=_head(answer))
