"""What the broker says against what we hold: each case with the report and the adjustment it must give."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import pytest

from foliostream.domain import broker, reconciling
from foliostream.domain.attributing import Holder, Part
from foliostream.domain.broker import Answer, Holding, Row
from foliostream.domain.reconciling import Adjustment, Comparison, ExternalOrder, Ours, Rules
from foliostream.errors import RetryableError

ISIN = "INE002A01018"
dec = Decimal


def ours(quantity: str, price: str = "100", symbol: str = "RELIANCE", **other: object) -> Ours:
    """Bought or sold at ``price``, and nothing else happened."""
    multiplier = dec(str(other.pop("multiplier", "1")))
    worth = dec(quantity) * dec(price) * multiplier
    fields: dict[str, object] = {"cost": worth, "value": -worth, "isin": ISIN if symbol.endswith("RELIANCE") else None}
    return Ours(symbol=symbol, quantity=dec(quantity), multiplier=multiplier, **(fields | other))  # type: ignore[arg-type]


def row(bought: str, sold: str = "0", price: str = "100", **other: object) -> Row:
    """Bought and sold at ``price``."""
    multiplier = dec(str(other.pop("multiplier", "1")))
    symbol = other.pop("symbol", "RELIANCE")
    fields: dict[str, object] = {
        "name": "RELIANCE",
        "exchange": "NSE",
        "product": "CNC",
        "isin": ISIN if str(symbol).endswith("RELIANCE") else None,
        "symbol": symbol,
        "quantity": dec(bought) - dec(sold),
        "buy_quantity": dec(bought),
        "sell_quantity": dec(sold),
        "buy_value": dec(bought) * dec(price) * multiplier,
        "sell_value": dec(sold) * dec(price) * multiplier,
        "average_price": dec(price),
        "last_price": dec(110),
        "multiplier": multiplier,
    }
    return Row(**(fields | other))  # type: ignore[arg-type]


def held(settled: str, **other: object) -> Holding:
    fields: dict[str, object] = {
        "name": "RELIANCE",
        "exchange": "NSE",
        "isin": ISIN,
        "symbol": "RELIANCE",
        "average_price": dec(100),
        "last_price": dec(110),
    }
    numbers = {name: dec(value) for name, value in other.items() if name not in fields and isinstance(value, str)}
    return Holding(settled=dec(settled), **(fields | other | numbers))  # type: ignore[arg-type]


class Case(NamedTuple):
    """``report``: (kind, symbol, expected, actual) of each discrepancy; ``parts``: of the adjustment, whose it is."""

    name: str
    ours: list[Ours]
    rows: list[Row]
    holdings: list[Holding]
    report: list[tuple[str, str | None, str, str]]
    adjustment: tuple[str, str, bool] | None = None
    rules: Rules = Rules()
    parts: dict[str, str] | None = None


def shared(*holders: tuple[str, str | None, str], step: str | None = None) -> Rules:
    """Portfolios with their shares, and how much RELIANCE each holds."""
    known = (Holder(name, dec(share) if share else None, {"RELIANCE": dec(held)}) for name, share, held in holders)
    return Rules(holders=tuple(known), steps={"RELIANCE": dec(step)} if step else {})


def several(*quantities: str) -> list[Ours]:
    return reconciling.sums({str(number): [ours(quantity)] for number, quantity in enumerate(quantities)})


SHARED = Rules(holders=(Holder("a"), Holder("b")))
CASES = [
    Case("nothing anywhere", [], [], [], []),
    Case("bought today, both know it", [ours("10")], [row("10")], [], []),
    Case("carried shares are holdings", [ours("10")], [], [held("10")], []),
    Case("T1 shares are owned", [ours("10")], [], [held("4", incoming="6")], []),
    Case("all T1", [ours("10")], [], [held("0", incoming="10")], []),
    Case("holding and more bought today", [ours("15", value=None)], [row("5")], [held("10")], []),
    Case("sale out of holdings as a position", [ours("6", value=None)], [row("0", "4")], [held("10", used="4")], []),
    Case("the same sale only as used quantity", [ours("6")], [], [held("10", used="4")], []),
    Case("a sale counted once is not counted twice",
         [ours("2")], [row("0", "4")], [held("10", used="4")],
         [("quantity", "RELIANCE", "2", "6")], ("4", "110", True)),
    Case("all sold out of holdings", [], [row("0", "10")], [held("10", used="10")], []),
    Case("bought and sold today out of nothing", [ours("0", value=dec(0))], [row("5", "5")], [held("0")], []),
    Case("the broker has a trade that we missed",
         [], [row("10")], [], [("missing", "RELIANCE", "0", "10")], ("10", "100", False)),
    Case("a missed short sale",
         [], [row("0", "10", product="MIS")], [], [("missing", "RELIANCE", "0", "-10")], ("-10", "100", False)),
    Case("a missed second purchase has its own price",
         [ours("10")], [row("20", buy_value=dec(2050))], [],
         [("quantity", "RELIANCE", "10", "20")], ("10", "105", False)),
    Case("a missed sale has its own price",
         [ours("10")], [row("10", "4", sell_value=dec(480))], [],
         [("quantity", "RELIANCE", "10", "6")], ("-4", "120", False)),
    Case("a missed close leaves a flat row, whose average price of zero is not used",
         [ours("10")], [row("10", "10", sell_value=dec(1200), average_price=dec(0))], [],
         [("extra", "RELIANCE", "10", "0")], ("-10", "120", False)),
    Case("a missed purchase of holdings comes in kind at the mark",
         [], [], [held("10")], [("missing", "RELIANCE", "0", "10")], ("10", "110", True)),
    Case("too few holdings",
         [ours("10")], [], [held("7", average_price=dec(90))],
         [("quantity", "RELIANCE", "10", "7")], ("-3", "110", True)),
    Case("what the broker does not know goes in kind at our mark",
         [ours("10", symbol="TCS", mark=dec(120)), ours("1")], [row("1")], [],
         [("extra", "TCS", "10", "0")], ("-10", "120", True)),
    Case("without any price nothing is proposed",
         [ours("10", symbol="TCS"), ours("1")], [row("1")], [], [("extra", "TCS", "10", "0")]),
    Case("long here, short there",
         [ours("10")], [row("0", "10", product="MIS")], [],
         [("sign", "RELIANCE", "10", "-10")], ("-20", "100", False)),
    Case("short here, long there",
         [ours("-5")], [row("5", product="MIS")], [], [("sign", "RELIANCE", "-5", "5")], ("10", "100", False)),
    Case("closed under another product",
         [ours("0", value=dec(0))], [row("10", product="MIS"), row("0", "10", product="NRML")], [],
         [("product", "RELIANCE", "0", "-10")]),
    Case("other products that agree in the sum", [ours("30")], [row("10"), row("20", product="MIS")], [], []),
    Case("an intraday short beside holdings is shown",
         [ours("6", value=None)], [row("0", "4", product="MIS")], [held("10")], [("product", "RELIANCE", "0", "-4")]),
    Case("a product nobody knows blocks what would be booked",
         [], [row("10", product="XYZ")], [],
         [("product", "RELIANCE", "0", "10"), ("missing", "RELIANCE", "0", "10")]),
    Case("lots with a multiplier agree",
         [ours("1", "161.05", "LEAD", multiplier="1000")],
         [row("1", price="161.05", multiplier="1000", symbol="LEAD", product="NRML", exchange="MCX")], [], []),
    Case("another multiplier",
         [ours("1", "161.05", "LEAD", multiplier="1")],
         [row("1", price="161.05", multiplier="1000", symbol="LEAD", product="NRML", exchange="MCX")], [],
         [("multiplier", "LEAD", "1", "1000"), ("pnl", "LEAD", "-161.05", "-161050")]),
    Case("a missed lot has its price per unit",
         [ours("1", "161.05", "LEAD", multiplier="1000")],
         [row("3", price="161.05", multiplier="1000", symbol="LEAD", product="NRML", exchange="MCX",
              last_price=dec("161.05"))], [],
         [("quantity", "LEAD", "1", "3")], ("2", "161.05", False)),
    Case("a flat row whose profit we know",
         [ours("0", value=dec(801))], [row("4", "4", sell_value=dec(1201))], [], []),
    Case("a flat row with a profit that we never saw",
         [], [row("4", "4", sell_value=dec(1201))], [], [("pnl", "RELIANCE", "0", "801")]),
    Case("quantities agree, prices do not",
         [ours("10", "100")], [row("10", price="103")], [], [("pnl", "RELIANCE", "-1000", "-1030")]),
    Case("prices differ within the tolerance", [ours("10", "100")], [row("10", price="100.1")], [], []),
    Case("what the books cannot tell is not compared", [ours("10", value=None)], [row("10", price="130")], [], []),
    Case("where the books cannot tell, a difference comes in kind",
         [ours("10", value=None)], [row("12", price="100.5")], [],
         [("quantity", "RELIANCE", "10", "12")], ("2", "110", True)),
    Case("an average of a re-entry differs, sums do not",
         [ours("5", value=dec(-450))], [row("15", "10", buy_value=dec(1500), sell_value=dec(1050))], [], []),
    Case("a price that no market had is no evidence",
         [ours("10")], [row("11", buy_value=dec(3000))], [], [("quantity", "RELIANCE", "10", "11")]),
    Case("delivery on two exchanges is one share",
         [ours("10")], [], [held("4"), held("6", exchange="BSE")], []),
    Case("bought on one exchange, sold on the other",
         [ours("0", value=dec(0), symbol="RELIANCE")],
         [row("10"), row("0", "10", exchange="BSE", symbol="BSE:RELIANCE")], [], []),
    Case("intraday positions of two exchanges are two",
         [ours("10", symbol="RELIANCE"), ours("0", symbol="BSE:RELIANCE")],
         [row("10", product="MIS", exchange="BSE", symbol="BSE:RELIANCE")], [],
         [("missing", "BSE:RELIANCE", "0", "10"), ("extra", "RELIANCE", "10", "0")], ("10", "100", False)),
    Case("two symbols of an ISIN: nobody can say which one is wrong",
         [ours("10", symbol="RELIANCE"), ours("5", symbol="BSE:RELIANCE")], [], [held("12")],
         [("quantity", "RELIANCE", "15", "12")]),
    Case("pledged shares are owned, but only reported",
         [ours("10")], [], [held("2", pledged="6")], [("quantity", "RELIANCE", "10", "8")]),
    Case("pledged shares that agree", [ours("10")], [], [held("4", pledged="6")], []),
    Case("financed shares that agree", [ours("10")], [], [held("0", financed="10")], []),
    Case("financed shares are only reported",
         [], [], [held("0", financed="10")], [("missing", "RELIANCE", "0", "10")]),
    Case("a split two for one",
         [ours("10", "100")], [], [held("20", average_price=dec(50))], [("corporate_action", "RELIANCE", "10", "20")]),
    Case("a bonus of one for two",
         [ours("10", "150")], [], [held("15", average_price=dec(100))], [("corporate_action", "RELIANCE", "10", "15")]),
    Case("a consolidation of ten into one",
         [ours("100", "10")], [], [held("10", average_price=dec(100))],
         [("corporate_action", "RELIANCE", "100", "10")]),
    Case("twice the shares at twice the cost is no split",
         [ours("10", "100")], [], [held("20")], [("quantity", "RELIANCE", "10", "20")], ("10", "110", True)),
    Case("the same cost at a ratio that nobody decides on is no split",
         [ours("1000", "100")], [], [held("1009", average_price=dec("99.108"))],
         [("quantity", "RELIANCE", "1000", "1009")], ("9", "110", True)),
    Case("a trade of today is no split",
         [ours("10", "100")], [row("25", "5", buy_value=dec(1250), sell_value=dec(250), average_price=dec(50),
                                   last_price=dec(50))], [],
         [("quantity", "RELIANCE", "10", "20")]),
    Case("a fill in flight is left alone",
         [], [row("10")], [], [], None, Rules(protected=frozenset({"RELIANCE"}))),
    Case("protection is of its symbol alone",
         [], [row("10")], [], [("missing", "RELIANCE", "0", "10")], ("10", "100", False),
         Rules(protected=frozenset({"TCS"}))),
    Case("the sum over several strategies agrees",
         reconciling.sums({"a": [ours("4")], "b": [ours("6")]}), [row("10")], [], [], None, SHARED),
    Case("opposite strategies cancel out",
         reconciling.sums({"a": [ours("4")], "b": [ours("-4")]}), [], [], [], None, SHARED),
    Case("a difference of several strategies is only reported",
         reconciling.sums({"a": [ours("4")], "b": [ours("6")]}), [row("12")], [],
         [("quantity", "RELIANCE", "10", "12")], None, SHARED),
    Case("an external purchase is divided by the shares",
         several("40", "60"), [row("110")], [], [("quantity", "RELIANCE", "100", "110")], ("10", "100", False),
         shared(("a", "0.3", "40"), ("b", "0.7", "60")), {"a": "3", "b": "7"}),
    Case("what cannot be divided goes to the largest remainder, of equal ones to the first id",
         several("1", "1", "1"), [row("8")], [], [("quantity", "RELIANCE", "3", "8")], ("5", "100", False),
         shared(("a", "0.3333", "1"), ("b", "0.3333", "1"), ("c", "0.3334", "1")), {"a": "2", "b": "1", "c": "2"}),
    Case("one share for all that no tag attributes",
         several("4", "6"), [row("13")], [], [("quantity", "RELIANCE", "10", "13")], ("3", "100", False),
         shared(("a", "1", "4"), ("b", None, "6")), {"a": "3"}),
    Case("lots are not torn apart",
         several("75", "75"), [row("375")], [], [("quantity", "RELIANCE", "150", "375")], ("225", "100", False),
         shared(("a", "0.5", "75"), ("b", "0.5", "75"), step="75"), {"a": "150", "b": "75"}),
    Case("fractions are divided in their own decimals",
         several("1", "1"), [row("2.5")], [], [("quantity", "RELIANCE", "2", "2.5")], ("0.5", "100", False),
         shared(("a", "0.5", "1"), ("b", "0.5", "1")), {"a": "0.3", "b": "0.2"}),
    Case("shares that do not sum to one decide nothing",
         several("4", "6"), [row("12")], [], [("quantity", "RELIANCE", "10", "12")], None,
         shared(("a", "0.5", "4"), ("b", "0.4", "6"))),
    Case("a missed sale is taken from who holds it",
         several("10", "0"), [row("10", "4")], [], [("quantity", "RELIANCE", "10", "6")], ("-4", "100", False),
         shared(("a", "0.5", "10"), ("b", "0.5", "0")), {"a": "-4"}),
    Case("a missed sale beyond one's holding is taken from the others'",
         several("1", "9"), [row("10", "4")], [], [("quantity", "RELIANCE", "10", "6")], ("-4", "100", False),
         shared(("a", "0.9", "1"), ("b", "0.1", "9")), {"a": "-1", "b": "-3"}),
    Case("everything sold makes everybody flat, whatever the shares",
         several("7", "3"), [row("10", "10")], [], [("extra", "RELIANCE", "10", "0")], ("-10", "100", False),
         shared(("a", "0.5", "7"), ("b", "0.5", "3")), {"a": "-7", "b": "-3"}),
    Case("sold through zero: first what is held, then by shares",
         several("7", "3"), [row("10", "16", product="MIS")], [], [("sign", "RELIANCE", "10", "-6")],
         ("-16", "100", False), shared(("a", "0.5", "7"), ("b", "0.5", "3")), {"a": "-10", "b": "-6"}),
    Case("what a portfolio without a share holds is nobody else's to lose",
         several("2", "8"), [row("10", "6")], [], [("quantity", "RELIANCE", "10", "4")], None,
         shared(("a", "1", "2"), ("b", None, "8"))),
    Case("a missed cover of a short is given to who is short",
         several("-10", "0"), [row("4", "10", product="MIS")], [], [("quantity", "RELIANCE", "-10", "-6")],
         ("4", "100", False), shared(("a", "0.1", "-10"), ("b", "0.9", "0")), {"a": "4"}),
    Case("shares do not book what is without evidence",
         several("4", "6"), [row("11", buy_value=dec(3000))], [], [("quantity", "RELIANCE", "10", "11")], None,
         shared(("a", "0.5", "4"), ("b", "0.5", "6"))),
    Case("shares do not book a split",
         several("4", "6"), [], [held("20", average_price=dec(50))], [("corporate_action", "RELIANCE", "10", "20")],
         None, shared(("a", "0.5", "4"), ("b", "0.5", "6"))),
    Case("an instrument that is not registered",
         [], [row("10", symbol=None, isin=None)], [], [("unknown_instrument", None, "0", "10")]),
    Case("a holding that is not registered",
         [], [], [held("10", symbol=None)], [("unknown_instrument", None, "0", "10")]),
    Case("a flat row of an unknown instrument without profit", [], [row("5", "5", symbol=None, isin=None)], [], []),
]  # fmt: skip


def shown(result: Comparison) -> list[tuple[str, str | None, str, str]]:
    return [
        (item.kind, item.symbol, format(item.expected.normalize(), "f"), format(item.actual.normalize(), "f"))
        for item in result.discrepancies
    ]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_difference_is_reported_by_its_kind_and_only_evidence_is_booked(case: Case) -> None:
    answer = broker.checked(Answer(rows=tuple(case.rows), holdings=tuple(case.holdings)))

    result = reconciling.compare(case.ours, answer, case.rules)

    assert shown(result) == case.report
    proposed = [(str(item.quantity), str(item.price), item.in_kind) for item in result.adjustments]
    assert proposed == ([case.adjustment] if case.adjustment else [])
    if case.parts:
        parts = {part.portfolio_id: part.quantity for part in result.adjustments[0].parts}
        assert parts == {name: dec(quantity) for name, quantity in case.parts.items()}
        assert result.discrepancies[0].parts == result.adjustments[0].parts


def test_there_are_at_least_forty_cases() -> None:
    assert len(CASES) >= 40
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", [case for case in CASES if case.adjustment and len(case.ours) < 2])
def test_what_is_proposed_makes_the_quantities_agree(case: Case) -> None:
    answer = Answer(rows=tuple(case.rows), holdings=tuple(case.holdings))
    proposed = reconciling.compare(case.ours, answer, case.rules).adjustments[0]
    before = case.ours[0] if case.ours else ours("0")
    worth = proposed.quantity * proposed.price * before.multiplier
    after = Ours(
        symbol=before.symbol,
        isin=before.isin,
        quantity=before.quantity + proposed.quantity,
        multiplier=before.multiplier,
        value=None if before.value is None or proposed.in_kind else before.value - worth,
    )

    assert reconciling.compare([after], answer, case.rules).discrepancies == ()


def test_what_is_spared_is_named() -> None:
    result = reconciling.compare([], Answer(rows=(row("10"),)), Rules(protected=frozenset({"RELIANCE"})))

    assert result.protected == ("RELIANCE",)


def test_an_account_that_shows_nothing_is_told_apart_from_one_difference() -> None:
    assert reconciling.compare([ours("10")], Answer(), Rules()).is_all_gone
    assert not reconciling.compare([ours("10")], Answer(rows=(row("1"),)), Rules()).is_all_gone
    assert not reconciling.compare([], Answer(), Rules()).is_all_gone


def test_cash_is_compared_and_never_adjusted() -> None:
    result = reconciling.compare([], Answer(cash=dec(900)), Rules(), cash=dec(1000))

    assert shown(result) == [("cash", None, "1000", "900")]
    assert result.adjustments == ()
    assert reconciling.compare([], Answer(cash=dec("1000.5")), Rules(), cash=dec(1000)).discrepancies == ()
    assert reconciling.compare([], Answer(cash=dec(900)), Rules()).discrepancies == ()


def test_an_order_that_nobody_of_us_placed_is_reported() -> None:
    order = ExternalOrder("TCS", "NSE", "CNC", dec(3))

    assert shown(reconciling.compare([], Answer(), Rules(), external=[order])) == [("external_order", "TCS", "0", "3")]


def test_the_same_adjustment_over_the_same_books_is_the_same_transaction() -> None:
    adjustment = Adjustment("M&M", dec(4), dec("120.5"), in_kind=False)
    mine, others = Part("growth", dec(4)), Part("other", dec(4))
    first = reconciling.entry(adjustment, mine, 7, 1_000)

    assert first.transaction_id == reconciling.entry(adjustment, mine, 7, 9_000).transaction_id
    assert first.transaction_id != reconciling.entry(adjustment, mine, 8, 1_000).transaction_id
    assert first.transaction_id != reconciling.entry(adjustment, others, 7, 1_000).transaction_id
    assert (first.quantity, first.price, first.in_kind) == (dec(4), dec("120.5"), False)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(rows=(row("10"), row("10"))),
        Answer(holdings=(held("10"), held("10"))),
        Answer(rows=(row("10", quantity=dec(9)),)),
        Answer(rows=(row("10", buy_value=dec("NaN")),)),
        Answer(rows=(row("10", multiplier="0"),)),
        Answer(rows=(row("10", last_price=dec(-1)),)),
        Answer(holdings=(held("-1"),)),
        Answer(cash=dec("Infinity")),
    ],
)
def test_an_answer_that_contradicts_itself_is_not_used(answer: Answer) -> None:
    with pytest.raises(RetryableError) as refused:
        broker.checked(answer)
    assert refused.value.code == "BROKER_ANSWER"
