"""Margin events and liquidations, end to end over fakes: each once, whoever dies where."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from foliostream.application.liquidating import Liquidator, Worked
from foliostream.application.margin_events import MarginFollowUp
from foliostream.application.receiving import Received
from foliostream.domain import margin_status
from foliostream.domain import snapshot as snapshots
from foliostream.domain.margin_status import MarginStatus
from foliostream.domain.portfolio import Portfolio
from foliostream.domain.price import PriceUpdate
from foliostream.errors import RetryableError
from tests.unit.application.system import ALICE, System, new_portfolio, received
from tests.unit.domain.accounts import cfd, forex
from tests.unit.domain.examples import STALE_AFTER_MS, buy, sell

D = Decimal
GOLD, OIL = cfd("XAUUSD", margin_rate=D("0.05")), cfd("OIL", margin_rate=D("0.05"))
KINDS = ("margin_call", "margin_restored", "margin_unknown", "stop_out", "liquidation_executed")


class Traded(System):
    """A system with gold and oil at 100, and accounts that hold them."""

    def __init__(self, *, protected: bool = True) -> None:
        super().__init__()
        for instrument in (GOLD, OIL, forex()):
            self.instruments.put(instrument)
        self.liquidator = Liquidator(self.ledger, self.instruments, self.hot, self.bus, self.clock, protected)
        self.quote("XAUUSD", "100")
        self.quote("OIL", "100")

    def quote(self, symbol: str, price: str, *, ts_ms: int | None = None) -> None:
        at_ms = self.clock.now_ms() if ts_ms is None else ts_ms
        self.prices(PriceUpdate(symbol, at_ms, bid=D(price), ask=D(price)))

    def account(self, account_type: str = "demo", *, gold: str = "100", oil: str = "", cash: str = "1000") -> None:
        """Of alice: ``100`` of gold at 100 is 500 of margin."""
        changes = {"account_kind": "margin"}
        self.portfolios.create(ALICE, new_portfolio("1", account_type=account_type, cash=cash, changes=changes))
        trades = [("XAUUSD", gold), ("OIL", oil)]
        entries = [
            buy(quantity, "100", instrument_id=symbol, transaction_id=f"open-{symbol}")
            for symbol, quantity in trades
            if quantity
        ]
        self.portfolios.update(ALICE, "1", entries)
        self.ticks("XAUUSD", "100")

    def ticks(self, symbol: str, *prices: str) -> None:
        """Prices a second apart, each worked off."""
        for price in prices:
            self.clock.advance(1000)
            self.quote(symbol, price)
            self.settle()

    def liquidate(self, messages: list[Received] | None = None) -> Worked:
        """Work off what was ordered, and what follows from that."""
        done = self.liquidator.work(self.liquidations.receive() if messages is None else messages)
        self.project()
        return done

    def project(self) -> None:
        """What the ledger's stream does: the hot store has the book, and the portfolio is marked."""
        book = self.book
        self.valuer.project(book)
        self.clock.advance(1000)
        window = self.marker.window(book.account_type)
        self.marker.mark(book.account_type, [book.key], window, "ledger")
        self.settle()

    @property
    def book(self) -> Portfolio:
        return self.ledger.load(["1"])["1"]

    @property
    def status(self) -> MarginStatus:
        found = snapshots.decode(self.hot.read(["1"])["1"].body).margin
        assert found is not None
        return found

    def events(self, *kinds: str) -> list[str]:
        """Ids of the margin events published, in their order."""
        return [str(detail["event_id"]) for kind, detail in self.bus.published if kind in (kinds or KINDS)]

    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.bus.published]

    def detail(self, kind: str) -> dict[str, Any]:
        found = [detail for name, detail in self.bus.published if name == kind]
        inside = found[-1][kind]
        assert isinstance(inside, dict)
        return inside


@pytest.fixture
def system() -> Traded:
    return Traded()


# --- events ----------------------------------------------------------------------------------------------------------


def test_a_slide_into_a_call_and_back_is_told_once_each(system: Traded) -> None:
    system.account()
    system.ticks("XAUUSD", "95", "94.7", "94.6", "94.7", "95", "97", "100")
    assert system.kinds() == ["margin_call", "margin_restored"]
    called, restored = system.events()
    assert called.removeprefix("margin_call:") == restored.removeprefix("margin_restored:")
    detail = system.detail("margin_call")
    assert (detail["equity"], detail["used"], detail["level_percent"]) == (470, D("473.50"), D("99.26"))
    assert (detail["portfolio_id"], detail["margin_call_percent"]) == ("1", 100)
    assert system.status.unsent == ()


def test_who_watches_is_told_of_every_event_and_never_twice(system: Traded) -> None:
    system.account()
    system.connect()
    system.subscribe("1")
    system.ticks("XAUUSD", "94.7", "100")
    system.flush()
    told = [message for message in system.messages() if message["type"].startswith("margin_")]
    assert [message["event_id"] for message in told] == system.events()
    assert told[0]["level_percent"] == D("99.26")


@pytest.mark.parametrize("breaks", ["bus", "queue"])
def test_what_could_not_be_told_is_told_when_the_message_comes_again(system: Traded, breaks: str) -> None:  # G8
    system.account()
    system.clock.advance(1000)
    system.quote("XAUUSD", "92")
    bundles = system.queues.receive("demo")
    if breaks == "bus":
        system.bus.failing = 1
    else:
        system.liquidations.failing = 1
    with pytest.raises(RetryableError):
        system.recalculate(received(bundles))
    assert [event.kind for event in system.status.unsent] == ["margin_call", "stop_out"]
    before = system.status
    assert system.recalculate(received(bundles, receive_count=2)) == []
    assert set(system.events()) == {event.event_id("demo:1") for event in before.unsent}
    assert system.status.unsent == ()


def test_an_event_whose_writer_died_is_told_by_the_next_valuation_under_the_same_id(system: Traded) -> None:  # G8
    system.account()
    system.clock.advance(1000)
    system.quote("XAUUSD", "94.7")
    system.clock.advance(1000)
    system.valuer.value(["1"])  # and no more than that
    (event,) = system.status.unsent
    # The mark is worked off although its snapshot is newer: something is pending.
    system.settle()
    assert system.events() == [event.event_id("demo:1")]
    system.ticks("XAUUSD", "94.6")
    assert len(system.events()) == 1


def test_an_event_whose_confirmation_was_lost_comes_again_with_its_id(system: Traded) -> None:  # G8
    system.account()
    kept = system.follow_up
    system.follow_up = replace_snapshots(kept, Forgetful())
    system.ticks("XAUUSD", "94.7")
    system.follow_up = kept
    system.ticks("XAUUSD", "94.6")
    first, second = system.events()
    assert first == second


class Forgetful:
    """Stands for a store that is not asked: the function died before."""

    def save(self, _: object) -> list[object]:
        return []


def replace_snapshots(follow_up: MarginFollowUp, store: Any) -> MarginFollowUp:  # noqa: ANN401
    fields = {name: getattr(follow_up, name) for name in MarginFollowUp.__dataclass_fields__}
    return MarginFollowUp(**fields | {"snapshots": store})


@pytest.mark.parametrize("how", ["stale", "one side", "crossed"])
def test_prices_that_are_not_to_be_trusted_raise_nothing(system: Traded, how: str) -> None:  # G8
    system.account()
    system.clock.advance(STALE_AFTER_MS if how == "stale" else 1000)
    now_ms = system.clock.now_ms()
    if how == "stale":
        system.quote("XAUUSD", "50", ts_ms=now_ms - STALE_AFTER_MS + 999)
        system.clock.advance(1000)
    elif how == "one side":
        system.prices(PriceUpdate("XAUUSD", now_ms, ask=D(50)))
    else:
        (refused,) = system.prices(PriceUpdate("XAUUSD", now_ms, bid=D(60), ask=D(50))).rejected
        assert refused.code == "CROSSED"
    system.clock.advance(2000)
    system.marker.refresh("demo:1")
    system.settle()
    assert (system.kinds(), system.liquidations.receive()) == ([], [])
    assert system.status.state == "ok"


def test_a_called_account_that_is_out_of_sight_is_looked_at_again_and_told_once(system: Traded) -> None:
    system.account()
    system.ticks("XAUUSD", "94.7")
    system.clock.advance(STALE_AFTER_MS + 1)
    system.marker.mark("demo", ["demo:1"], system.marker.window("demo"), "sweep")  # silent since then
    system.settle()
    assert system.kinds() == ["margin_call"]
    (look,) = system.queues.receive("delayed")
    system.clock.wait_until(look.message.window_end_ms)
    assert system.recalculate(received([look])) == []
    assert system.kinds() == ["margin_call", "margin_unknown"]
    assert system.queues.receive("delayed") == []
    assert system.state("1").margin.state == "unknown"  # type: ignore[union-attr]
    system.marker.refresh("demo:1")
    system.settle()
    assert len(system.kinds()) == 2


def test_a_portfolio_has_levels_of_its_own(system: Traded) -> None:
    system.account()
    book = system.book
    own = replace(book, version=book.version + 1, margin_call_percent=D(150), stop_out_percent=D(140))
    system.valuer.project(own)
    system.ticks("XAUUSD", "97")
    assert system.kinds() == ["margin_call"]
    assert system.detail("margin_call")["margin_call_percent"] == 150


# --- stop-outs -------------------------------------------------------------------------------------------------------


def test_a_stop_out_tells_its_plan_and_closes_it_once(system: Traded) -> None:
    system.account()
    system.ticks("XAUUSD", "92")
    assert system.kinds() == ["margin_call", "stop_out"]
    plan = system.detail("stop_out")["plan"]
    assert (plan["execution"], plan["reason"], plan["suffices"]) == ("automatic", None, True)
    (close,) = plan["closes"]
    assert (close["instrument_id"], close["quantity"], close["price"]) == ("XAUUSD", -100, 92)
    orders = system.liquidations.receive()
    assert system.liquidate([*orders, *orders]).booked == 1
    book = system.book
    assert (book.positions, book.cash, book.status, book.liquidating_from) == ({}, {"USD": 200}, "ACTIVE", None)
    booked = system.ledger.transactions("1", [f"fill:{close['fill_id']}"])
    assert [item.entry.reason for item in booked.values()] == ["STOP_OUT"]
    assert set(system.events("liquidation_executed")) == {f"liquidation_executed:{plan['plan_id']}"}
    assert system.kinds()[-1] == "margin_restored"
    assert (system.status.state, system.liquidations.receive()) == ("ok", [])


def test_what_a_snapshot_has_to_tell_is_told_also_where_it_overtook_the_one_who_tells(system: Traded) -> None:
    """The projection values too, and tells nothing: its snapshot comes between a recalculation's reads and its write,
    and the mark that the projection left is that recalculation's."""
    system.account()
    save = system.hot.save
    others = iter([True])

    def overtaken(candidates: Any) -> Any:  # noqa: ANN401
        if next(others, False):
            system.clock.advance(10)
            system.valuer.value(["1"])
        return save(candidates)

    system.hot.save = overtaken  # type: ignore[method-assign]
    system.ticks("XAUUSD", "94")

    assert system.kinds() == ["margin_call"]
    assert system.status.unsent == ()


def test_a_stop_out_of_paper_costs_what_its_other_fills_cost(system: Traded) -> None:
    system.account("paper")
    system.ticks("XAUUSD", "92")
    (close,) = system.detail("stop_out")["plan"]["closes"]
    assert (close["price"], close["fee"]) == (D("91.54"), D("9.15"))  # half a percent, and a tenth of the value
    assert system.liquidate().booked == 1
    assert (system.book.cash, system.book.fees_total) == ({"USD": D("144.85")}, D("9.15"))


def test_a_breach_that_lasts_keeps_its_id_when_the_hot_store_is_lost(system: Traded) -> None:
    system.account()
    system.ticks("XAUUSD", "94")
    assert system.kinds() == ["margin_call"]
    system.hot.snapshots.clear()
    system.ticks("XAUUSD", "94.1", "94")
    assert system.kinds() == ["margin_call"]
    system.hot.snapshots.clear()
    system.ticks("XAUUSD", "100", "94")

    assert system.kinds() == ["margin_call", "margin_restored", "margin_call"]
    first, restored, second = system.events()
    assert first.removeprefix("margin_call:") == restored.removeprefix("margin_restored:")
    assert second != first
    system.hot.snapshots.clear()
    system.ticks("XAUUSD", "94")
    assert len(system.events()) == 3


def test_what_was_told_is_kept_before_it_is_confirmed(system: Traded) -> None:
    system.account()
    system.follow_up = replace_snapshots(system.follow_up, Forgetful())
    system.ticks("XAUUSD", "94")
    assert margin_status.decode(system.margin_notes.kept["margin:1"].decode()).unsent == ()
    assert system.status.unsent


def test_a_stop_out_goes_no_further_than_needed(system: Traded) -> None:
    system.account(gold="50", oil="50")
    system.ticks("XAUUSD", "84")
    assert system.liquidate().booked == 1
    assert list(system.book.positions) == ["OIL"]
    assert system.book.status == "ACTIVE"


def test_an_order_that_comes_again_later_closes_nothing_twice(system: Traded) -> None:
    system.account(gold="50", oil="50")
    system.ticks("XAUUSD", "84")
    orders = system.liquidations.receive()
    assert system.liquidate(orders).booked == 1
    book = system.book
    assert system.liquidate(orders) == Worked()
    assert system.book == book


@pytest.mark.parametrize("step", [1, 2, 3])
def test_who_dies_on_the_way_is_followed_by_the_same_order(system: Traded, step: int) -> None:
    """The status, the closes, the status again: with the answer lost after any of them."""
    system.account()
    system.ticks("XAUUSD", "92")
    orders = system.liquidations.receive()
    dying = Dying(system, step)
    assert dying.liquidator.work(orders).again == [orders[0].message_id]
    assert dying.done == step
    assert system.liquidator.work(orders).again == []
    assert (system.book.positions, system.book.cash, system.book.status) == ({}, {"USD": 200}, "ACTIVE")
    assert len(set(system.events("liquidation_executed"))) == 1


class Dying:
    """A liquidator that dies right after so many writes of the ledger."""

    def __init__(self, system: Traded, steps: int) -> None:
        self.done = 0
        self._steps = steps
        self._ledger = system.ledger
        self.liquidator = Liquidator(
            self,  # type: ignore[arg-type]
            system.instruments,
            system.hot,
            system.bus,
            system.clock,
            protected=True,
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        found: Callable[..., Any] = getattr(self._ledger, name)
        return self._dying(found) if name in {"amend", "commit"} else found

    def _dying(self, write: Callable[..., None]) -> Callable[..., None]:
        def then_dies(*given: object) -> None:
            write(*given)
            self.done += 1
            if self.done == self._steps:
                raise MemoryError("killed")

        return then_dies


def test_a_plan_is_left_where_the_book_is_another(system: Traded) -> None:
    system.account()
    system.ticks("XAUUSD", "92")
    orders = system.liquidations.receive()
    system.portfolios.update(ALICE, "1", [sell("10", "92", instrument_id="XAUUSD", transaction_id="own")])
    assert system.liquidator.work(orders).left
    assert system.book.positions["XAUUSD"].quantity == 90
    system.project()
    assert system.liquidate().booked == 1
    assert system.book.positions == {}


def test_a_plan_is_left_where_its_prices_are_stale(system: Traded) -> None:
    system.account()
    system.ticks("XAUUSD", "92")
    orders = system.liquidations.receive()
    system.clock.advance(STALE_AFTER_MS + 1)
    assert system.liquidator.work(orders).left
    assert system.book.positions["XAUUSD"].quantity == 100


def test_a_closed_market_is_skipped_and_the_rest_goes_on_when_it_opens(system: Traded) -> None:
    system.account(gold="50", oil="50")
    system.instruments.put(replace(GOLD, hours="Thu 12:00-Thu 13:00 UTC", max_age_seconds=2_000_000))
    system.ticks("XAUUSD", "80.5")
    plan = system.detail("stop_out")["plan"]
    assert plan["skipped"] == ["XAUUSD"]
    assert [close["instrument_id"] for close in plan["closes"]] == ["OIL"]
    assert plan["suffices"] is False
    assert system.liquidate().booked == 1
    assert (list(system.book.positions), system.book.status) == (["XAUUSD"], "LIQUIDATING")
    assert system.liquidations.receive() == []
    system.instruments.put(replace(GOLD, hours=None, max_age_seconds=2_000_000))
    system.ticks("XAUUSD", "80.5")
    system.liquidate()
    assert (system.book.positions, system.book.status) == ({}, "ACTIVE")


def test_an_account_that_recovers_by_itself_is_given_back(system: Traded) -> None:
    system.account(gold="50", oil="50")
    system.instruments.put(replace(GOLD, hours="Thu 12:00-Thu 13:00 UTC", max_age_seconds=2_000_000))
    system.ticks("XAUUSD", "80.5")
    system.liquidate()
    assert system.book.status == "LIQUIDATING"
    system.ticks("XAUUSD", "120")
    system.liquidate()
    assert (system.book.status, system.book.liquidating_from) == ("ACTIVE", None)


def test_a_live_account_gets_its_plan_as_an_event_alone(system: Traded) -> None:
    system.account("live")
    system.ticks("XAUUSD", "92")
    plan = system.detail("stop_out")["plan"]
    assert (plan["execution"], plan["reason"], len(plan["closes"])) == ("none", "AUTO_LIQUIDATE_OFF", 1)
    assert (system.liquidations.receive(), system.book.status) == ([], "ACTIVE")


def test_a_live_account_whose_broker_takes_no_orders_is_told_so(system: Traded) -> None:
    system.account("live")
    book = system.book
    system.valuer.project(replace(book, version=book.version + 1, auto_liquidate=True))
    system.ticks("XAUUSD", "92")
    assert system.detail("stop_out")["plan"]["reason"] == "NO_BROKER_EXECUTION"
    assert system.liquidations.receive() == []


@pytest.mark.parametrize(("protected", "left"), [(True, 0), (False, -200)])
def test_a_negative_balance_is_protected_where_that_is_set(protected: bool, left: int) -> None:
    system = Traded(protected=protected)
    system.account()
    system.ticks("XAUUSD", "88")
    system.liquidate()
    assert (system.book.positions, system.book.cash) == ({}, {"USD": left})
    assert ("margin_restored" in system.kinds()) is False


def test_a_result_in_another_currency_is_booked_at_the_plans_rate(system: Traded) -> None:
    system.instruments.put(cfd("DAX", "EUR", margin_rate=D("0.05")))
    system.prices(PriceUpdate("EURUSD", system.clock.now_ms(), bid=D("1.1"), ask=D("1.2")))
    system.quote("DAX", "100")
    changes = {"account_kind": "margin"}
    system.portfolios.create(ALICE, new_portfolio("1", account_type="demo", cash="1000", changes=changes))
    system.portfolios.update(ALICE, "1", [buy("100", "100", instrument_id="DAX")])
    system.ticks("DAX", "93")
    (order,) = system.liquidations.receive()
    system.prices(PriceUpdate("EURUSD", system.clock.now_ms(), bid=D("1.5"), ask=D("1.6")))
    system.liquidate([order])
    assert system.book.cash == {"USD": 1000 - 700 * D("1.2")}


def test_the_status_is_in_the_head_from_which_the_next_valuation_goes_on(system: Traded) -> None:
    system.account()
    system.ticks("XAUUSD", "94.7")
    head = system.hot.read(["1"])["1"].head
    assert margin_status.decode(head.margin) == system.status
