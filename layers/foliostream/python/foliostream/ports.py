"""What the use cases need from outside, as small Protocols named by need.

Every adapter raises errors of ``foliostream.errors`` only: ``RetryableError`` when the outside failed or throttled
after the adapter's own bounded retries, ``ConflictError`` when a condition did not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from foliostream.domain.notices import CHANNELS
from foliostream.domain.sessions import NOTHING_TOLD

if TYPE_CHECKING:  # each function loads what it works with itself
    from foliostream.domain.account import BrokerAccount
    from foliostream.domain.analysis_task import Task
    from foliostream.domain.broker import Answer
    from foliostream.domain.changes import Change
    from foliostream.domain.closes import Closes
    from foliostream.domain.coalescing import Bundle, DirtyMessage
    from foliostream.domain.fills import Fill, Side
    from foliostream.domain.history import Day
    from foliostream.domain.instrument import Instrument
    from foliostream.domain.letters import Part
    from foliostream.domain.liquidation import Liquidation
    from foliostream.domain.notices import Channel, NoticeKind
    from foliostream.domain.order_fills import Booked, Member, OrderState
    from foliostream.domain.orders import Order, State
    from foliostream.domain.pacing import Pace
    from foliostream.domain.portfolio import Portfolio, Transaction
    from foliostream.domain.price import Price, PriceUpdate
    from foliostream.domain.reconciliation import AccountState
    from foliostream.domain.sessions import RunStatus, Session, Told
    from foliostream.domain.snapshot import Snapshot

# Runs a function over items, possibly several at a time, and returns the results in order.
Each = Callable[[Callable[[str], str | None], Iterable[str]], Iterable[str | None]]


class Clock(Protocol):
    """The machine's clock; other machines may differ by the skew allowance."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""

    def wait_until(self, at_ms: int) -> None:
        """Return when ``now_ms() >= at_ms``."""


# --- the ledger -----------------------------------------------------------------------------------------------------


# All portfolios are walked bucket by bucket: 0 to this.
WALK_BUCKETS = 16


class Page(NamedTuple):
    """A page of portfolio ids; ``cursor`` is None on the last one."""

    portfolio_ids: list[str]
    cursor: str | None


class Ledger(Protocol):
    """The books. All reads but ``walk`` are strongly consistent."""

    def load(self, portfolio_ids: Collection[str]) -> dict[str, Portfolio]:
        """Those that exist, by id."""

    def create(self, portfolio: Portfolio, transactions: Sequence[Transaction], request_digest: str) -> None:
        """Store a new portfolio (version 1), its first transactions and its owner's index entry in one transaction.

        ``ConflictError`` (``PORTFOLIO_EXISTS``) if the id is taken, by whomever.
        """

    def request_digest(self, portfolio_id: str) -> str | None:
        """What ``create`` was given for it; None if there is no such portfolio."""

    def commit(
        self,
        portfolio: Portfolio,
        transactions: Sequence[Transaction],
        opened: Collection[str],
        closed: Collection[str],
        order: OrderChange | None = None,
    ) -> None:
        """One transaction: the portfolio if the stored version is ``portfolio.version - 1``, every transaction if its
        id was never seen in this portfolio, holder items added for ``opened`` symbols and removed for ``closed`` ones,
        the order that this fills, if its id was never seen either, or else if it still is OPEN.

        ``ConflictError`` ``TRANSACTION_EXISTS`` (look the ids up), ``ORDER_CHANGED`` (look it up) or
        ``VERSION_CONFLICT`` (read again); ``RefusedError`` ``TOO_MANY_ITEMS`` beyond 100 items,
        ``PORTFOLIO_TOO_LARGE`` beyond the item size.
        """

    def commit_together(self, bookings: Sequence[Booking]) -> None:
        """Several portfolios in one transaction, each as in ``commit``: all of them or none; errors as there."""

    def transactions(self, portfolio_id: str, transaction_ids: Collection[str]) -> dict[str, Transaction]:
        """Those already booked, by transaction id."""

    def owned(self, owner: str, cursor: str | None, limit: int) -> Page:
        """The owner's portfolio ids in id order; ``CallerError`` (``INVALID_CURSOR``) for a cursor not of ours."""

    def newest(self, portfolio_id: str, sequence: int, limit: int) -> list[Transaction]:
        """The transaction of this sequence, which is booked, and those before it, newest first, without a gap;
        ``RetryableError`` where they cannot all be listed yet."""

    def amend(self, portfolio: Portfolio, change: Change) -> None:
        """One transaction: the portfolio as in ``commit`` and the record of its change, which the ledger's stream
        delivers too; ``ConflictError`` ``VERSION_CONFLICT``."""

    def close_day(self, portfolio: Portfolio, day: Day | None, closed: Collection[str] = ()) -> None:
        """One transaction: the portfolio and ``closed`` as in ``commit``, and the day's row, if there is one;
        ``ConflictError`` ``VERSION_CONFLICT``, or ``DAY_EXISTS`` for a row that is there already."""

    def days(self, portfolio_id: str, first: str, last: str) -> list[Day]:
        """The rows of the days from ``first`` to ``last`` (``2026-02-26``), oldest first."""

    def last_day(self, portfolio_id: str) -> Day | None:
        """The newest row."""

    def walk(self, bucket: int, after: str | None, limit: int) -> Page:
        """Ids of all portfolios of a bucket in an order of its own, those after the cursor (an id); one created or
        restored less than seconds ago may be missing."""


class Booking(NamedTuple):
    """A portfolio's next version and what made it; ``opened``, ``closed``: symbols it depends on from now, or no
    more."""

    portfolio: Portfolio
    transactions: Sequence[Transaction]
    opened: Collection[str]
    closed: Collection[str]


class LedgerStream(Protocol):
    """The changes of the ledger of the last day, in the order in which they were delivered."""

    def records(self, part: Part) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Records as DynamoDB writes them, page by page. ``PermanentError`` ``STREAM_TRIMMED`` where they are gone."""


class OrderChange(NamedTuple):
    """An order that is new (``before`` None) or was OPEN, and what it becomes."""

    before: Order | None
    after: Order


class OrderPage(NamedTuple):
    """A page of orders; ``cursor`` (an order id) is None on the last one."""

    orders: list[Order]
    cursor: str | None


class Orders(Protocol):
    """Simulated orders, kept beside the books; all reads are strongly consistent."""

    def get(self, portfolio_id: str, order_id: str) -> Order | None:
        """None if there never was one."""

    def page(self, portfolio_id: str, state: State | None, after: str | None, limit: int) -> OrderPage:
        """At most ``limit`` of the portfolio's orders (of one state) in the reverse order of their ids, those after
        the cursor. A page may hold fewer and yet not be the last one."""

    def change(self, change: OrderChange) -> None:
        """Keep an order that books nothing: OPEN, CANCELLED or REJECTED. ``ConflictError`` ``ORDER_CHANGED`` as
        ``Ledger.commit``; ``RefusedError`` ``TOO_MANY_ORDERS`` beyond ``MAX_OPEN`` open ones of the portfolio."""

    def within(self, symbol: str, side: Side, price: Decimal, limit: int) -> list[Order]:
        """At most ``limit`` of the symbol's open orders that a price is within the limit of."""

    def are_open(self, symbol: str) -> bool:
        """Whether the symbol has open orders."""

    def symbols(self) -> Iterator[str]:
        """Those that have open orders; what changed less than seconds ago may be missing or there."""


# All instruments are walked bucket by bucket: 0 to this.
SYMBOL_BUCKETS = 64


class Instruments(Protocol):
    """The registry of instruments."""

    def get(self, symbols: Collection[str]) -> dict[str, Instrument]:
        """Those registered; may be up to a minute old, but a symbol not known yet is always looked up."""

    def by_token(self, tokens: Collection[str]) -> dict[str, str]:
        """Symbols by the broker's token, of those registered with one (two with the same: the later); as old as
        ``get`` may be."""

    def put(self, instrument: Instrument) -> None:
        """Register or replace; seen at once by this container."""

    def walk(self, bucket: int) -> list[Instrument]:
        """All of a bucket, 0 to ``SYMBOL_BUCKETS``; as they were registered up to seconds ago, never from a cache."""


class PriceHistory(Protocol):
    """Daily closes by symbol, as they were traded. All reads are strongly consistent, dates oldest first."""

    def merge(self, symbol: str, closes: Mapping[str, Decimal]) -> Closes:
        """Add closes by date, a date's new one in the place of its old one; what is kept then (the newest
        ``closes.MAX_CLOSES``)."""

    def all(self, symbol: str) -> Closes:
        """All that are kept; empty if there are none."""

    def recent(self, symbols: Collection[str]) -> dict[str, Closes]:
        """The newest ``closes.RECENT_CLOSES`` of each symbol that has any."""


# --- the hot store --------------------------------------------------------------------------------------------------


class Prices(Protocol):
    """The newest price of every symbol."""

    def get(self, symbols: Collection[str]) -> dict[str, Price]:
        """Those that have one; strongly consistent."""

    def put(self, updates: Sequence[PriceUpdate]) -> list[bool]:
        """Merge each update into its symbol's price by the rule of ``domain.price.merge``, atomically per symbol, in
        the order given; for each whether it was taken (False: strictly older in every part)."""


class Holders(Protocol):
    """symbol, account type -> keys of the portfolios whose value depends on it."""

    def holders(self, symbols: Collection[str], account_type: str) -> Iterator[Sequence[str]]:
        """Their portfolio keys in parts of bounded size; a key may come more than once. Strongly consistent."""

    def add(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """Make the portfolio a dependent of the symbols; repeating it changes nothing."""


class Dependents(Protocol):
    """Holders as the repair compares them with the ledger; nobody else removes any."""

    def missing(self, needs: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """By portfolio key, those of the symbols it needs that do not have it as a dependent; strongly consistent."""

    def restore(self, portfolio_key: str, symbols: Collection[str]) -> None:
        """Make it a dependent of the symbols, whatever the ledger has."""

    def remove(self, portfolio_key: str, symbols: Collection[str], ledger_version: int | None) -> bool:
        """Take it from the symbols (at most 99). False, and nothing is removed, where the store can tell that the
        ledger has moved on from the version (None: that there is no such portfolio). A store that cannot tell removes:
        read the ledger again afterwards."""


class Head(NamedTuple):
    """What is known about a stored snapshot without its body. ``margin``: the encoded ``MarginStatus``, which the next
    valuation of a margin account goes on from; empty for others."""

    version: int
    ledger_version: int
    read_at_ms: int
    fresh_until_ms: int
    owner: str
    margin: str = ""


class Stored(NamedTuple):
    """A portfolio as the hot store has it: the head was read before the book."""

    head: Head | None
    book: bytes | None


class StoredSnapshot(NamedTuple):
    """A snapshot with the book beside it, which may be newer or lost: ``body`` is the encoded ``Snapshot``, both were
    read before the book."""

    head: Head
    body: bytes
    book: bytes | None


class Candidate(NamedTuple):
    """A snapshot to be written if the stored head is still ``expected`` (None: there was none), ``margin`` apart: of
    one version only what became of its events can change."""

    snapshot: Snapshot
    expected: Head | None


class Saved(NamedTuple):
    """``written``: the candidate stands; ``watchers``: connections with a lease at the snapshot's ``read_at_ms``
    (only when written); ``current``: the head that refused it otherwise."""

    written: bool
    watchers: list[str]
    current: Head | None


class Books(Protocol):
    """Encoded portfolios for valuation, kept beside their snapshots."""

    def put_book(self, portfolio: Portfolio) -> None:
        """Store the book unless the stored one is as new or newer."""

    def load(self, portfolio_ids: Sequence[str]) -> dict[str, Stored]:
        """Head, then book, of each id (every id is in the answer). Strongly consistent."""


class Snapshots(Protocol):
    """The newest snapshot of every portfolio, and who watches it."""

    def read(self, portfolio_ids: Sequence[str]) -> dict[str, StoredSnapshot]:
        """Those that exist. Strongly consistent."""

    def save(self, candidates: Sequence[Candidate]) -> list[Saved]:
        """Compare-and-set each on its own; answers in the order given."""

    def watch(self, portfolio_id: str, connection_id: str, lease_until_ms: int) -> None:
        """Register a watcher until the lease ends; ``RefusedError`` (``TOO_MANY_WATCHERS``) beyond the limit."""

    def unwatch(self, portfolio_id: str, connection_ids: Collection[str]) -> None:
        """Remove watchers; unknown ones are no error."""

    def watchers(self, portfolio_ids: Collection[str], at_ms: int) -> dict[str, list[str]]:
        """Connections whose lease goes on after ``at_ms``, by portfolio; without those that nobody watches."""


class Promised(NamedTuple):
    """A bundle on record; ``message`` is None where the record cannot be read."""

    shard: int
    bundle_id: str
    recorded_at_ms: int
    message: DirtyMessage | None


class DirtyRecords(Protocol):
    """Which bundles are promised and not yet done (design section 4, step 6)."""

    def record(self, account_type: str, bundles: Sequence[Bundle]) -> None:
        """Before they are sent."""

    def forget(self, account_type: str, bundle_ids: Collection[tuple[int, str]]) -> None:
        """After their snapshots are written; (shard, bundle id) each; unknown ones are no error."""

    def promised(self, account_type: str) -> Iterator[Sequence[Promised]]:
        """What is on record, in parts of bounded size. One may come more than once; what is recorded or forgotten
        meanwhile may be there or not."""


class Counted(NamedTuple):
    """Sums by name since ``since_ms``, when the store was first counted in (0: never)."""

    since_ms: int
    sums: dict[str, int]


class Counters(Protocol):
    """Figures about the whole system since its hot store exists."""

    def count(self, figures: Mapping[str, int]) -> None:
        """Add to the sums: one round trip."""

    def counted(self) -> Counted:
        """The sums so far; those of a count that is under way may be missing."""


class OrderHints(Protocol):
    """Symbols that may have open orders, so that a price of all others costs no look at the orders."""

    def hinted(self, symbols: Collection[str]) -> set[str]:
        """Those of them; one round trip for all, strongly consistent."""

    def hint(self, symbols: Collection[str]) -> None:
        """Add them; repeating it changes nothing."""

    def unhint(self, symbols: Collection[str]) -> None:
        """Remove them; those that are not there are no error."""


class Paced(NamedTuple):
    """A pace to be written if the stored one is still ``before`` (None: there was none)."""

    portfolio_id: str
    before: Pace | None
    after: Pace


class Paces(Protocol):
    """When portfolios may be valued that have an interval of their own or fail. Losing them costs valuations that come
    too early, and retries that begin anew."""

    def paces(self, portfolio_ids: Collection[str]) -> dict[str, Pace]:
        """Those that have one. Strongly consistent."""

    def pace(self, changes: Sequence[Paced]) -> list[bool]:
        """Compare-and-set each on its own; for each whether it stands, in the order given."""


class HotStore(Prices, Books, Snapshots, DirtyRecords, Counters, Paces, OrderHints, Protocol):
    """What one hot store offers; each use case names only the parts it needs."""


class Notes(Protocol):
    """Small things kept under a name, of at most 300 KB each: how far the sweep has come, checkpoints."""

    def read(self, name: str) -> bytes | None:
        """None if there is none. Strongly consistent."""

    def read_all(self, names: Collection[str]) -> dict[str, bytes]:
        """Those that there are. Strongly consistent."""

    def keep(self, name: str, note: bytes) -> None:
        """In the place of the last one; ``PermanentError`` (``NOTE_TOO_LARGE``) beyond the limit."""


# --- rebuilding the hot store ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Segment:
    """How far a rebuild has come in one bucket of ``Ledger.walk``; ``cursor`` is the walk's."""

    bucket: int
    cursor: str | None = None
    portfolios: int = 0
    broken: int = 0
    is_finished: bool = False


class Rebuild(NamedTuple):
    """A run of the rebuild."""

    run_id: str
    started_at_ms: int
    segments: list[Segment]


class RebuildRecords(Protocol):
    """The progress of the current run; whatever is asked for another run is answered as if that had never been."""

    def begin(self, run: Rebuild) -> None:
        """Make it the current run."""

    def current(self) -> Rebuild | None:
        """None if there never was one. Strongly consistent."""

    def segment(self, run_id: str, bucket: int) -> Segment | None:
        """None if the run is not the current one. Strongly consistent."""

    def advance(self, run_id: str, before: Segment, after: Segment) -> None:
        """``ConflictError`` if the segment is not ``before`` any more."""


class RebuildQueue(Protocol):
    """Messages of a rebuild to itself."""

    def send(self, run_id: str, buckets: Collection[int], *, delay_seconds: int = 0) -> None:
        """One message a bucket."""


# --- messages -------------------------------------------------------------------------------------------------------


class Delayed(NamedTuple):
    """A bundle and for how long its queue holds it: 0 to 900 seconds."""

    bundle: Bundle
    delay_seconds: int


class Queues(Protocol):
    """Dirty, bulk, refresh, delayed and push queues: ``queue`` is ``live``, ``demo``, ``paper``, ``bulk``, ``refresh``
    or ``push``; for dead letters also ``ledger``: changes that could not be projected."""

    def send(self, queue: str, bundles: Sequence[Bundle]) -> None:
        """All of them, per-entry failures retried with back-off; ``RetryableError`` if some could not be sent."""

    def send_later(self, delayed: Sequence[Delayed]) -> None:
        """As ``send``, to the delayed queue."""

    def dead_letter(self, queue: str, message: DirtyMessage, reason: str) -> None:
        """Give a message up: into the queue's dead-letter queue, with the reason as a message attribute."""


class DeadLetters(Protocol):
    """Where messages go that no retry can mend."""

    def give_up(
        self, source: str, body: str, message_id: str, code: str, reason: str, *, group: str = "unread"
    ) -> None:
        """A message of the queue (or topic) ``source``: price, order_filled or fills, into its dead-letter queue, with
        ``code`` and ``reason`` as the attributes reason and detail."""


class Letter(NamedTuple):
    """A dead letter. ``attributes``: what who gave it up says about it; ``receives`` counts every look too;
    ``first_received_at_ms`` 0: never before; ``group`` is empty where its queue is not FIFO; ``handle`` is good for as
    long as it is held."""

    letter_id: str
    body: str
    attributes: Mapping[str, str]
    receives: int
    sent_at_ms: int
    first_received_at_ms: int
    group: str
    handle: str


class Letters(Protocol):
    """Dead letters, by the name of what gave them up (``foliostream.queues``)."""

    def names(self) -> list[str]:
        """All there are."""

    def hold(self, name: str, seconds: int) -> list[Letter]:
        """At most ten that nobody holds, hidden from everybody else for so long; none: there are no more. Of a FIFO
        group nothing more comes while something of it is held."""

    def release(self, name: str, letters: Sequence[Letter]) -> None:
        """Hold them no longer; those that are gone are no error."""

    def delete(self, name: str, letter: Letter) -> None:
        """One that is held."""

    def send_back(self, name: str, letter: Letter, nonce: str) -> None:
        """The body into the queue that it came from, under a deduplication id that was never used; ``PermanentError``
        where it came from none."""


class Functions(Protocol):
    """Functions of the stack."""

    def start(self, function: str, payload: bytes) -> None:
        """Without waiting for it."""


class QueueDepth(NamedTuple):
    """Messages as SQS counts them, which is approximately: waiting (delayed ones too) and being worked on."""

    waiting: int
    in_flight: int


class QueueDepths(Protocol):
    """How much waits in the queues."""

    def depths(self) -> dict[str, QueueDepth]:
        """By queue name; dead-letter queues are named ``live_dead`` and the like."""


class Alarm(NamedTuple):
    """``state``: ``OK``, ``ALARM`` or ``INSUFFICIENT_DATA``; ``name`` as in the template; ``description`` says what is
    the matter when it is raised, and names the runbook."""

    name: str
    state: str
    since_ms: int
    description: str


class Alarms(Protocol):
    """What is watched."""

    def alarms(self) -> list[Alarm]:
        """All of the stack, as they were some seconds ago."""


class FillQueue(DeadLetters, Protocol):
    """Accepted fills on their way into the books: in order within a portfolio, as far as one sender can keep it."""

    def send(self, fills: Sequence[Fill]) -> None:
        """All of them; a fill sent twice is there twice, only the ledger knows it. ``RetryableError`` if some could
        not be sent: all may be sent again."""


class Liquidations(Protocol):
    """Stop-outs on their way into the books: in order within a portfolio."""

    def send(self, orders: Sequence[Liquidation]) -> None:
        """All of them; the same plan within the same ten seconds may be there once only. ``RetryableError`` if some
        could not be sent: all may be sent again."""


class FeedTimer(Protocol):
    """Wakes the market feed later."""

    def wake(self, slot: int, delay_seconds: int) -> None:
        """One message for ``slot`` after 0..900 seconds."""


class OrderQueue(Protocol):
    """Symbols whose open orders are to be looked at."""

    def send(self, symbols: Collection[str]) -> None:
        """All of them; a symbol that is looked at twice is harmless."""


class CloseQueue(Protocol):
    """Parts of the daily close, or of the nightly swap, that are still to be done."""

    def send(self, parts: Sequence[Mapping[str, object]]) -> None:
        """One message each."""


class EventBus(Protocol):
    """Where events go that others listen to: each may arrive twice, and is known again by its ``event_id``."""

    def publish(self, detail_type: str, details: Sequence[Mapping[str, object]]) -> None:
        """One event each; failed entries are retried; ``RetryableError`` if some could not be published."""


class QuoteSource(Protocol):
    """A market data provider: updates of the shape of ``POST /api/v1/prices``, prices as Decimal."""

    def quotes(self, slot: int, now_ms: int) -> list[dict[str, object]]:
        """The quotes of one feed tick (``slot`` counts intervals since 1970); ``RetryableError`` if it is down."""


# --- callers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says: its owner, the scopes granted, and the epoch second from which on it is not accepted
    any more (its end and the clock difference that is forgiven)."""

    subject: str
    scopes: frozenset[str]
    expires_at: int


class TokenVerifier(Protocol):
    """Proves a token."""

    def verify(self, token: str) -> Claims:
        """Claims of a valid token; ``UnauthorizedError`` for any other, ``RetryableError`` when it cannot be known."""


class TakenTicket(NamedTuple):
    """Whose ticket it was, and until when it was good."""

    claims: Claims
    expires_at_ms: int


class Tickets(Protocol):
    """Tickets by a digest of them."""

    def put(self, digest: str, claims: Claims, expires_at_ms: int) -> None:
        """Until it is taken, or well after it has expired."""

    def take(self, digest: str) -> TakenTicket | None:
        """Exactly once; None if there is none. It may have expired."""


# --- clients --------------------------------------------------------------------------------------------------------


# API Gateway closes a connection on which nothing is said for so long.
IDLE_MS = 10 * 60_000


@dataclass(frozen=True)
class Connection:
    """A WebSocket connection and who is behind it.

    From ``expires_at_ms`` on it is told and closed at the next occasion, from ``leaves_at_ms`` on it is not there any
    more. ``is_returning``: its session is still to be restored; ``touched_at_ms``: when the session's end was moved.
    ``sent_events``: digests of the ids of the notices sent last, oldest first; ``told``: what was sent of the
    session's runs.
    """

    connection_id: str
    owner: str
    scopes: frozenset[str]
    connected_at_ms: int
    expires_at_ms: int
    sent_events: tuple[str, ...] = ()
    session_id: str = ""
    told: Told = NOTHING_TOLD
    touched_at_ms: int = 0
    is_returning: bool = False

    @property
    def leaves_at_ms(self) -> int:
        """By then API Gateway has closed it, if nothing was sent to it or came from it."""
        return self.expires_at_ms + IDLE_MS


@dataclass(frozen=True)
class Subscription:
    """``sent_version`` 0: nothing sent yet.

    ``parts``: digest of each part of the state as last sent, by name; None with a ``sent_version``: the client says
    that it has this version, what is in it is not known. ``generation`` names the call that made the subscription: what
    was sent for an older one does not count any more. ``channels``: what of the portfolio goes to the client.
    """

    portfolio_id: str
    sent_version: int = 0
    parts: Mapping[str, str] | None = None
    generation: str = ""
    channels: tuple[Channel, ...] = CHANNELS


class Outgoing(NamedTuple):
    """An entry of a connection's outbox; ids sort in the order of sending. With ``notices`` it stands for those, in
    their order. Without a payload, too: look into the session, something of its run has not been told.

    A notice has its ``event_id`` and goes only to who is subscribed to the ``channel`` of the portfolio then.
    """

    entry_id: str
    payload: bytes
    event_id: str = ""
    portfolio_id: str = ""
    channel: Channel | None = None
    notices: tuple[Outgoing, ...] = ()

    @property
    def is_signal(self) -> bool:
        """Whether it only says that the session has something to tell."""
        return not self.payload and not self.notices


@dataclass(frozen=True)
class ConnectionView:
    """Everything kept about one connection, read at once and strongly consistent."""

    connection: Connection
    subscriptions: list[Subscription]
    outbox: list[Outgoing]


class Admitted(NamedTuple):
    """The connection, None if unknown or gone; whether it may say something now."""

    connection: Connection | None
    is_allowed: bool


class Closed(NamedTuple):
    """What a connection was: its row, if it was still there, and its subscriptions."""

    connection: Connection | None
    subscriptions: list[Subscription]


class Watch(NamedTuple):
    """Somebody watches a portfolio until the end of a lease."""

    portfolio_id: str
    connection_id: str
    lease_until_ms: int


class WatchPage(NamedTuple):
    """A page of subscriptions, which may be empty; ``cursor`` is None on the last one."""

    watches: list[Watch]
    cursor: str | None


class Connections(Protocol):
    """Connections, their subscriptions and outboxes; items expire by ``expires_at``, checked on every read."""

    def open(self, connection: Connection) -> None:
        """Keep a connection as it is at ``$connect``: without subscriptions, nothing in its outbox."""

    def view(self, connection_id: str, now_ms: int) -> ConnectionView | None:
        """None if unknown or gone (``leaves_at_ms``)."""

    def admit(self, connection_id: str, now_ms: int, interval_ms: int, burst_ms: int) -> Admitted:
        """Count a message: one every ``interval_ms``, after a silence ``burst_ms / interval_ms`` at once."""

    def close(self, connection_id: str) -> Closed:
        """Delete all of it; what was there."""

    def subscribe(self, connection: Connection, subscriptions: Collection[Subscription]) -> None:
        """Add subscriptions, each under a new generation (one that is there is replaced: with ``sent_version`` 0 a
        snapshot is sent again); ``NotFoundError`` (``CONNECTION_CLOSED``) if the connection is gone."""

    def unsubscribe(self, connection_id: str, portfolio_ids: Collection[str]) -> None:
        """Remove subscriptions; unknown ones are no error."""

    def watches(self, after: str | None, limit: int) -> WatchPage:
        """All subscriptions, expired ones too, page by page; ``limit``: items looked at. One made meanwhile may be
        missing."""

    def mark_sent(self, connection: Connection, subscriptions: Sequence[Subscription]) -> None:
        """Remember what was sent; for a subscription of another ``generation`` than the one given it does not count,
        and one that is gone does not come back."""

    def enqueue(self, letters: Sequence[tuple[str, Outgoing]], expires_at_ms: int) -> None:
        """Put entries into the outboxes of the connections named; one that is there already is the same one."""

    def dequeue(self, connection_id: str, entry_ids: Collection[str]) -> None:
        """Remove sent entries."""

    def note_events(self, connection_id: str, event_ids: Sequence[str]) -> None:
        """Remember which notices were sent last, if the connection still exists."""

    def note_told(self, connection_id: str, told: Told) -> None:
        """Remember what was sent of the session's runs, if the connection still exists."""

    def note_touched(self, connection_id: str, touched_at_ms: int) -> None:
        """Remember when the session's end was moved, if the connection still exists."""

    def note_restored(self, connection_id: str) -> None:
        """Its session is restored: it is not ``is_returning`` any more."""


class KeptNotice(NamedTuple):
    """A notice as it is kept for replay; ``payload`` is the message."""

    portfolio_id: str
    event_id: str
    kind: NoticeKind
    kept_at_ms: int
    payload: bytes


class Notices(Protocol):
    """What happened to portfolios, for who was not there."""

    def keep(self, notices: Sequence[KeptNotice], expires_at_ms: int) -> None:
        """One kept again at another time is there twice."""

    def since(self, portfolio_id: str, after_ms: int, limit: int, now_ms: int) -> list[KeptNotice]:
        """The newest ``limit`` of those kept at or after the time and not expired, oldest first; strongly
        consistent."""


class Sessions(Protocol):
    """What a client finds again when it comes back; gone at ``expires_at_ms``, checked on every read. All reads are
    strongly consistent."""

    def open(self, session_id: str, owner: str, connection_id: str, now_ms: int, expires_at_ms: int) -> Session | None:
        """Make the connection the session's; the session as it was, None if it is a new one. ``UnauthorizedError``
        (``SESSION_NOT_YOURS``) if somebody else has it."""

    def view(self, session_id: str, now_ms: int) -> Session | None:
        """None if unknown or expired."""

    def touch(self, session_id: str, expires_at_ms: int) -> None:
        """Move its end; one that is gone stays so."""

    def remember(
        self, session_id: str, added: Mapping[str, Collection[Channel]], removed: Collection[str] = ()
    ) -> None:
        """The portfolios it is subscribed to, with their channels; of a session that is gone nothing is kept."""

    def keep_sent(self, session_id: str, sent: Sequence[Subscription], expires_at_ms: int) -> None:
        """What the session's last connection was sent of each portfolio, for at least so long."""

    def sent(self, session_id: str, portfolio_id: str) -> Subscription | None:
        """``sent_version`` and ``parts`` as kept; the rest is not."""

    def open_run(self, session: Session) -> None:
        """Store its run (with ``opening`` and ``superseded``) as the current one, without results; ``ConflictError`` if
        the stored run is not the one numbered just before it."""

    def put_result(self, session_id: str, run_id: str, metric: str, payload: bytes, now_ms: int) -> str | None:
        """Store a result of the run; the session's connection, or None, and nothing is stored, if the run is not
        running any more or has the metric already."""

    def end_run(self, session_id: str, run_id: str, status: RunStatus, ending: bytes) -> str | None:
        """End the run; the session's connection, or None if the run is not running any more."""


class AnalysisStarter(Protocol):
    """Has an analysis computed elsewhere."""

    def start(self, task: Task) -> None:
        """Without waiting for it; it may be worked on more than once."""


class Gateway(Protocol):
    """Posts to clients."""

    def post(self, connection_id: str, payload: bytes) -> bool:
        """False if the connection is gone; ``RetryableError`` if it may be delivered later."""

    def close(self, connection_id: str) -> None:
        """End the connection; one that is gone is no error."""


class Heard(NamedTuple):
    """What came from a channel: a message, or None for the server's answer to ``Ticks.ask``."""

    message: bytes | None


class Ticks(Protocol):
    """A subscription to a channel that publishes ticks. Every method raises ``RetryableError`` once it is lost."""

    def receive(self, seconds: float) -> Heard | None:
        """The next one; None if nothing came within the time."""

    def ask(self) -> None:
        """Have the server say that it still knows the subscription; ``receive`` gives its answer."""

    def close(self) -> None:
        """Give the connection back; harmless on one that is lost."""


class PriceReader(Protocol):
    """Where a publisher keeps the newest price of each symbol."""

    def get(self, symbols: Collection[str]) -> dict[str, Price]:
        """Those that have one."""


class PriceQueue(Protocol):
    """The queue that price_update consumes."""

    def send(self, updates: Sequence[PriceUpdate]) -> None:
        """All of them. ``RetryableError``: some may be sent, all may be sent again; ``PermanentError``: no retry
        helps."""


# --- brokers --------------------------------------------------------------------------------------------------------


class Broker(Protocol):
    """An account at a broker. Raises ``RetryableError`` with the codes ``BROKER_DOWN``, ``BROKER_THROTTLED`` and
    ``BROKER_ANSWER``, ``PermanentError`` with ``TOKEN_EXPIRED``, ``WRONG_ACCOUNT`` and ``NO_CREDENTIALS``."""

    def owned(self, account: str) -> Answer:
        """Everything the account owns, by the broker's names; whole or not at all."""

    def orders(self, account: str) -> list[OrderState]:
        """The orders of the exchange's current day, with what they have filled."""

    def token_digest(self, account: str) -> str:
        """Tells one access token from the next one, without asking the broker."""

    def reported(self, account: str, body: str) -> OrderState:
        """The order of a postback; ``UnauthorizedError`` where it does not come from the broker."""


class Turns(Protocol):
    """Limits of rate that hold over all invocations."""

    def take(self, name: str, gap_ms: int) -> int:
        """0: it is the caller's turn, and nobody else has one for ``gap_ms``; else after how many milliseconds to ask
        again."""


class AccountPage(NamedTuple):
    """A page of accounts; ``cursor`` is None on the last one."""

    accounts: list[BrokerAccount]
    cursor: str | None


class Accounts(Protocol):
    """Brokers' accounts: which portfolios are on them, and what of their orders became fills. Strongly consistent."""

    def page(self, after: str | None, limit: int) -> AccountPage:
        """All accounts, page by page; ``tag`` is empty."""

    def members(self, broker: str, account: str) -> list[Member]:
        """The portfolios on an account; all have one owner."""

    def state(self, broker: str, account: str) -> AccountState:
        """How its reconciliation stands."""

    def keep_state(self, broker: str, account: str, state: AccountState) -> None:
        """In the place of the last one."""

    def booked(self, broker: str, account: str, day: str) -> dict[str, Booked]:
        """What of the day's orders became fills, by order id."""

    def booked_order(self, broker: str, account: str, day: str, order_id: str) -> Booked:
        """What of one order became fills."""

    def book(self, broker: str, account: str, order: tuple[str, str], before: Booked, after: Booked) -> None:
        """Of the order (day, id); ``ConflictError`` where it is not ``before`` any more."""


class ReconcileQueue(Protocol):
    """Accounts that are to be reconciled."""

    def send(self, accounts: Sequence[BrokerAccount], slot: int) -> None:
        """One message each; an account is queued once for a slot."""
