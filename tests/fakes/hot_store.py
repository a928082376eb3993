"""The hot store in memory: the same ports and rules, proven by the same contract tests."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from threading import RLock

from foliostream.adapters.hot_codec import WATCHERS_MAX, DirtyRecord, head_of, too_many_watchers
from foliostream.domain import portfolio as portfolios
from foliostream.domain import price as prices
from foliostream.domain import snapshot as snapshots
from foliostream.domain.coalescing import Bundle
from foliostream.domain.keys import split_key
from foliostream.domain.pacing import Pace
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import Price, PriceUpdate
from foliostream.ports import Candidate, Clock, Counted, Head, Paced, Promised, Saved, Stored, StoredSnapshot

HOLDERS_PER_PART = 100


class FakeHotStore:
    """The ports ``HotStore``, ``Holders``, ``Dependents``. Open to tests: ``prices``, ``snapshots``, ``books``,
    ``leases`` (portfolio id -> connection id -> lease), ``records`` ((account type, shard, bundle id) -> record)."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = RLock()
        self.prices: dict[str, Price] = {}
        self.dependents: dict[tuple[str, str], set[str]] = {}
        self.books: dict[str, tuple[int, bytes]] = {}
        self.snapshots: dict[str, StoredSnapshot] = {}
        self.leases: dict[str, dict[str, int]] = {}
        self.records: dict[tuple[str, int, str], DirtyRecord] = {}
        self.sums: dict[str, int] = {}
        self.since_ms = 0
        self.order_symbols: set[str] = set()
        self.kept_paces: dict[str, Pace] = {}

    def get(self, symbols: Collection[str]) -> dict[str, Price]:
        """Those that have a price."""
        with self._lock:
            return {symbol: self.prices[symbol] for symbol in symbols if symbol in self.prices}

    def put(self, updates: Sequence[PriceUpdate]) -> list[bool]:
        """Merge; for each whether it was taken."""
        return [self._merge(update) for update in updates]

    def _merge(self, update: PriceUpdate) -> bool:
        with self._lock:
            merged = prices.merge(self.prices.get(update.symbol), update)
            if merged is not None:
                self.prices[update.symbol] = merged
            return merged is not None

    def holders(self, symbols: Collection[str], account_type: str) -> Iterator[Sequence[str]]:
        """Portfolio keys in parts."""
        for symbol in symbols:
            with self._lock:
                found = sorted(self.dependents.get((symbol, account_type), ()))
            for start in range(0, len(found), HOLDERS_PER_PART):
                yield found[start : start + HOLDERS_PER_PART]

    def add(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """Make it a dependent of the symbols."""
        account_type, _ = split_key(portfolio_key)
        with self._lock:
            for symbol in symbols:
                self.dependents.setdefault((symbol, account_type), set()).add(portfolio_key)

    def missing(self, needs: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """Symbols that do not have it as a dependent."""
        found = {
            key: [symbol for symbol in symbols if key not in self.dependents.get((symbol, split_key(key)[0]), ())]
            for key, symbols in needs.items()
        }
        return {key: symbols for key, symbols in found.items() if symbols}

    def restore(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """Make it a dependent of the symbols."""
        self.add(portfolio_key, symbols)

    def remove(self, portfolio_key: str, symbols: Collection[str], ledger_version: int | None) -> bool:  # noqa: ARG002
        """Always: like Redis it does not know the ledger."""
        with self._lock:
            for symbol in symbols:
                self.dependents.get((symbol, split_key(portfolio_key)[0]), set()).discard(portfolio_key)
        return True

    def put_book(self, portfolio: Portfolio) -> None:
        """Store it unless the stored one is as new or newer."""
        with self._lock:
            version, _ = self.books.get(portfolio.portfolio_id, (0, b""))
            if portfolio.version > version:
                self.books[portfolio.portfolio_id] = portfolio.version, portfolios.encode(portfolio)

    def load(self, portfolio_ids: Sequence[str]) -> dict[str, Stored]:
        """Head and book of every id."""
        with self._lock:
            return {
                portfolio_id: Stored(self._head(portfolio_id), self.books.get(portfolio_id, (0, None))[1])
                for portfolio_id in portfolio_ids
            }

    def read(self, portfolio_ids: Sequence[str]) -> dict[str, StoredSnapshot]:
        """Those that exist."""
        with self._lock:
            return {
                name: self.snapshots[name]._replace(book=self.books.get(name, (0, None))[1])
                for name in portfolio_ids
                if name in self.snapshots
            }

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        """Compare-and-set each on its own."""
        return [self._save(candidate) for candidate in candidates]

    def _save(self, candidate: Candidate) -> Saved:
        snapshot, portfolio_id = candidate.snapshot, candidate.snapshot.portfolio_id
        with self._lock:
            current = self._head(portfolio_id)
            if _compared(current) != _compared(candidate.expected):
                return Saved(written=False, watchers=[], current=current)
            self.snapshots[portfolio_id] = StoredSnapshot(head_of(snapshot), snapshots.encode(snapshot), None)
            return Saved(written=True, watchers=self._live(portfolio_id, snapshot.read_at_ms), current=None)

    def watch(self, portfolio_id: str, connection_id: str, lease_until_ms: int) -> None:
        """Register a watcher, or move the end of its lease."""
        with self._lock:
            leases = self.leases.setdefault(portfolio_id, {})
            is_full = connection_id not in leases and len(leases) >= WATCHERS_MAX
            if is_full and len(self._live(portfolio_id, self._clock.now_ms())) >= WATCHERS_MAX:
                raise too_many_watchers(portfolio_id)
            self.leases[portfolio_id][connection_id] = lease_until_ms

    def unwatch(self, portfolio_id: str, connection_ids: Collection[str]) -> None:
        """Remove watchers."""
        with self._lock:
            for connection_id in connection_ids:
                self.leases.get(portfolio_id, {}).pop(connection_id, None)

    def watchers(self, portfolio_ids: Collection[str], at_ms: int) -> dict[str, list[str]]:
        """Those whose lease goes on after the time."""
        with self._lock:
            found = {
                name: [watcher for watcher, lease in self.leases.get(name, {}).items() if lease > at_ms]
                for name in portfolio_ids
            }
        return {name: live for name, live in found.items() if live}

    def record(self, account_type: str, bundles: Sequence[Bundle]) -> None:
        """Before they are sent."""
        now_ms = self._clock.now_ms()
        with self._lock:
            for bundle in bundles:
                self.records[account_type, bundle.shard, bundle.bundle_id] = DirtyRecord(now_ms, bundle.message)

    def forget(self, account_type: str, bundle_ids: Collection[tuple[int, str]]) -> None:
        """After their snapshots are written."""
        with self._lock:
            for shard, bundle_id in bundle_ids:
                self.records.pop((account_type, shard, bundle_id), None)

    def promised(self, account_type: str) -> Iterator[Sequence[Promised]]:
        """One by one."""
        for (kind, shard, bundle_id), record in list(self.records.items()):
            if kind == account_type:
                yield [Promised(shard, bundle_id, record.recorded_at_ms, record.message)]

    def count(self, figures: Mapping[str, int]) -> None:
        """Add to the sums."""
        added = {name: number for name, number in figures.items() if number}
        with self._lock:
            if added and not self.since_ms:
                self.since_ms = self._clock.now_ms()
            for name, number in added.items():
                self.sums[name] = self.sums.get(name, 0) + number

    def counted(self) -> Counted:
        """The sums."""
        return Counted(self.since_ms, dict(self.sums))

    def hinted(self, symbols: Collection[str]) -> set[str]:
        """Those that may have open orders."""
        return self.order_symbols.intersection(symbols)

    def hint(self, symbols: Collection[str]) -> None:
        """Add them."""
        self.order_symbols |= set(symbols)

    def unhint(self, symbols: Collection[str]) -> None:
        """Remove them."""
        self.order_symbols -= set(symbols)

    def paces(self, portfolio_ids: Collection[str]) -> dict[str, Pace]:
        """Those that have one."""
        with self._lock:
            return {name: self.kept_paces[name] for name in portfolio_ids if name in self.kept_paces}

    def pace(self, changes: Sequence[Paced]) -> list[bool]:
        """Compare-and-set each on its own."""
        return [self._pace(change) for change in changes]

    def _pace(self, change: Paced) -> bool:
        with self._lock:
            current = self.kept_paces.get(change.portfolio_id)
            if current == change.before:
                self.kept_paces[change.portfolio_id] = change.after
            return current in (change.before, change.after)

    def _head(self, portfolio_id: str) -> Head | None:
        stored = self.snapshots.get(portfolio_id)
        return stored.head if stored else None

    def _live(self, portfolio_id: str, at_ms: int) -> list[str]:
        leases = self.leases.get(portfolio_id, {})
        live = {name: lease for name, lease in leases.items() if lease > at_ms}
        self.leases[portfolio_id] = live
        return list(live)


def _compared(head: Head | None) -> Head | None:
    return head and head._replace(margin="")
