"""What must hold once the faults are over: compared with what was sent, valued by the slow reference of the books."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from foliostream.ports import HotStore
from foliostream.queues import Queue
from foliostream_client.transport import Rest
from tests.chaos.crowd import Crowd
from tests.chaos.poison import queue_url
from tests.chaos.traffic import CASH, Accounts, Desk, Market, Slides, Traders, insist
from tests.e2e.conftest import Cloud, value_of
from tests.property.reference import Books, Event, Paper

MARGIN_CASH, MARGIN_QUANTITY, MARGIN_PRICE = Decimal(1_000), 100, Decimal(100)


@dataclass(frozen=True)
class Checks:
    """Each gives sentences about what is wrong, none where all is well. The stores are at rest."""

    cloud: Cloud
    owner: Rest
    hot: HotStore
    accounts: Accounts
    market: Market
    desk: Desk
    traders: Traders
    slides: Slides
    crowd: Crowd

    def expected(self) -> dict[str, Decimal | None]:
        """The total value of every portfolio by what was sent and the last prices; of one that holds what never had a
        price there is none (G7)."""
        totals: dict[str, Decimal | None] = {name: self._cash_account(self._sent(name)) for name in self.accounts.cash}
        totals |= {name: self._cash_account(self._orders(name)) for name in self.accounts.paper}
        for name, symbol in self.accounts.margin.items():
            totals[name] = MARGIN_CASH + MARGIN_QUANTITY * (self._last(symbol) - MARGIN_PRICE)
        return totals | dict.fromkeys(self.accounts.blind)

    def shown(self) -> dict[str, Decimal | str | None]:
        """What the stored snapshots say."""
        found = self.hot.read(self.accounts.all)
        return {name: value_of(found[name]) if name in found else "nothing" for name in self.accounts.all}

    def wrong_totals(self) -> Iterator[str]:
        """G1: every snapshot at the last accepted prices."""
        shown = self.shown()
        for name, total in self.expected().items():
            if shown[name] != total:
                yield f"{self.accounts.types[name]} {name} shows {shown[name]}, expected {total}"

    def late_clients(self) -> Iterator[str]:
        """Whoever stayed has the newest version, and its total."""
        newest = {name: found.head.version for name, found in self.hot.read(self.accounts.all).items()}
        shown = self.shown()
        for client in self.crowd.healthy:
            for name in client.portfolio_ids:
                if client.versions.get(name) != newest.get(name):
                    yield f"client {client.number} has {name} {client.versions.get(name)}, newest {newest.get(name)}"
                elif not _same_money(client.values.get(name), shown[name]):
                    yield f"client {client.number} shows {name} at {client.values.get(name)}, not {shown[name]}"

    def client_faults(self) -> Iterator[str]:
        """Versions that fell or had a gap, events with two contents, messages that are not as documented."""
        yield from self.crowd.broken()
        for client in self.crowd.healthy:
            yield from (f"client {client.number}: {fault}" for fault in client.faults)

    def wrong_books(self) -> Iterator[str]:
        """G4: every fill once, in the ledger's own order through the reference; nothing else."""
        for name in self.accounts.cash:
            booked = self._transactions(name)
            ids = [item["transaction_id"] for item in booked]
            sent = self._sent(name)
            wanted = {f"fill:{fill_id}" for fill_id in sent}
            for missing in sorted(wanted - set(ids)):
                yield f"{name} lacks {missing}"
            for more in sorted(set(ids) - wanted - {"initial_cash"}):
                yield f"{name} has {more}, which nobody sent"
            if len(ids) != len(set(ids)):
                yield f"{name} has transactions twice"
            ordered = [sent[one.removeprefix("fill:")] for one in reversed(ids) if one in wanted]
            yield from self._compared(name, ordered)

    def wrong_orders(self) -> Iterator[str]:
        """Every order that was answered is there; each that is filled has one transaction, and no other has."""
        for name in self.accounts.paper:
            orders = {order["order_id"]: order for order in self._paged(name, "orders")}
            placed = self.traders.placed.get(name, {})
            for missing in sorted(placed.keys() - orders.keys()):
                yield f"{name} lost the order {missing}"
            for order_id, answer in placed.items():
                if answer["state"] == "FILLED" and orders.get(order_id) != answer:
                    yield f"{name}: {order_id} was answered {answer}, is {orders.get(order_id)}"
            filled = sorted(f"order:{name}" for name, order in orders.items() if order["state"] == "FILLED")
            booked = sorted(item["transaction_id"] for item in self._transactions(name))
            if booked != sorted([*filled, "initial_cash"]):
                yield f"{name}: filled {filled}, booked {booked}"

    def wrong_events(self, told: Mapping[str, set[str]], stores_lost: int) -> Iterator[str]:
        """G8: as many calls and recoveries as there were slides, each known to every client by its id, and to the bus.

        A store that is lost takes with it what an account was called for, and gives back older prices: a call and a
        recovery more for each time.
        """
        for name in self.accounts.margin:
            slides = self.slides.calls.get(name, 0)
            for kind in ("margin_call", "margin_restored"):
                on_bus = {event for event in told[kind] if name in event}
                if not slides <= len(on_bus) <= slides + stores_lost:
                    yield f"{name}: {slides} slides, {len(on_bus)} events {kind}: {sorted(on_bus)}"
                for client in self.crowd.healthy:
                    got = {event for event in client.events if event.startswith(f"{kind}:") and name in event}
                    if got != on_bus:
                        yield f"client {client.number}, {kind} of {name}: {sorted(got ^ on_bus)} differ from the bus"

    def backlog(self) -> Iterator[str]:
        """What any queue holds that has a consumer."""
        client = self.cloud.aws("sqs")
        counts = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        for queue in Queue:
            answer = client.get_queue_attributes(QueueUrl=queue_url(self.cloud, queue), AttributeNames=list(counts))
            waiting = sum(int(answer["Attributes"][name]) for name in counts)
            if waiting:
                yield f"{waiting} messages wait in {queue}"

    def wrong_letters(self, poison: Mapping[Queue, set[str]]) -> Iterator[str]:
        """The dead-letter queues hold the poison and nothing else."""
        base = queue_url(self.cloud, "")
        for url in self.cloud.aws("sqs").list_queues()["QueueUrls"]:
            if not url.startswith(base) or "-dead" not in url:
                continue
            wanted = next((words for queue, words in poison.items() if url == base + queue.dead), set())
            bodies = self._letters(url)
            for word in sorted(wanted):
                if not any(word in body for body in bodies):
                    yield f"{url.removeprefix(base)} lacks {word}"
            for body in bodies:
                if not any(word in body for word in wanted):
                    yield f"{url.removeprefix(base)} has {body[:300]}"

    def _letters(self, url: str) -> set[str]:
        client = self.cloud.aws("sqs")
        bodies: set[str] = set()
        options = {"MaxNumberOfMessages": 10, "VisibilityTimeout": 30}
        while found := client.receive_message(QueueUrl=url, **options).get("Messages"):
            bodies.update(message["Body"] for message in found)
            if url.endswith(".fifo"):  # a group's next letters are shown once these are gone
                for message in found:
                    client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies

    def _sent(self, portfolio_id: str) -> dict[str, Event]:
        return {
            fill.fill_id: _trade(fill.symbol, Decimal(fill.quantity), fill.price, fill.fee)
            for fill in list(self.desk.sent.values())
            if fill.portfolio_id == portfolio_id
        }

    def _orders(self, portfolio_id: str) -> dict[str, Event]:
        filled = [order for order in self._paged(portfolio_id, "orders") if order["state"] == "FILLED"]
        return {
            order["order_id"]: _trade(
                self.accounts.paper[portfolio_id],
                Decimal(order["quantity"]),
                Decimal(order["fill_price"]),
                Decimal(order["fee"]),
            )
            for order in filled
        }

    def _cash_account(self, trades: Mapping[str, Event]) -> Decimal:
        """Valued by the reference; the order of the trades does not matter to the total."""
        books = _books(list(trades.values()))
        marks = {symbol: Fraction(self._last(symbol)) for symbol in books.held}
        total = books.total(marks, {})
        return Decimal(total.numerator) / Decimal(total.denominator)

    def _compared(self, portfolio_id: str, ordered: list[Event]) -> Iterator[str]:
        """Cash, quantities and sums as the API tells them."""
        books = _books(ordered)
        state = insist(self.owner, "GET", f"/api/v1/portfolio/{portfolio_id}/state").body
        shown = {item["instrument_id"]: item["quantity"] for item in state["positions"] if item["mark"] is not None}
        wanted = {symbol: holding.quantity for symbol, holding in books.held.items()}
        if {symbol: Fraction(quantity) for symbol, quantity in shown.items()} != wanted:
            yield f"{portfolio_id} holds {shown}, expected {wanted}"
        for name, value in (
            ("cash_balance", books.cash["USD"]),
            ("realized_pnl", books.sums.booked["realized"]),
            ("fees_total", books.sums.booked["fees"]),
            ("net_deposits", books.sums.booked["flows"]),
        ):
            if Fraction(state[name]) != Fraction(round(value * 100), 100):
                yield f"{portfolio_id}: {name} is {state[name]}, expected {float(value)}"

    def _last(self, symbol: str) -> Decimal:
        return self.market.prices[symbol]

    def _transactions(self, portfolio_id: str) -> list[dict[str, Any]]:
        """Newest first."""
        return list(self._paged(portfolio_id, "transactions"))

    def _paged(self, portfolio_id: str, what: str) -> Iterator[dict[str, Any]]:
        cursor = ""
        while True:
            query = f"?cursor={cursor}" if cursor else ""
            page = insist(self.owner, "GET", f"/api/v1/portfolio/{portfolio_id}/{what}{query}").body
            yield from page[what]
            cursor = page["cursor"]
            if not cursor:
                return


def _trade(symbol: str, quantity: Decimal, price: Decimal, fee: Decimal) -> Event:
    kind = "BUY" if quantity > 0 else "SELL"
    return Event(kind, symbol, Fraction(quantity), Fraction(price), Fraction(fee), reported=True)


def _books(trades: list[Event]) -> Books:
    papers = {trade.symbol: Paper(trade.symbol, "stock", "USD") for trade in trades}
    books = Books(papers, "USD", margin=False, fifo=False, allow_short=True)
    books.book(Event("DEPOSIT", amount=Fraction(CASH), currency="USD"), {})
    for trade in trades:
        books.book(trade, {})
    return books


def _same_money(told: Decimal | None, exact: Decimal | str | None) -> bool:
    """A client is told cents."""
    return told == (round(exact, 2) if isinstance(exact, Decimal) else exact)
