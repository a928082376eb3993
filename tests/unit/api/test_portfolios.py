"""Creating, listing, updating and refreshing portfolios."""

from __future__ import annotations

from decimal import Decimal

import pytest

from foliostream.domain.instrument import Instrument
from foliostream.domain.valuation import PortfolioState
from tests.unit.api.client import NOW_MS, Client, buy


def test_a_new_portfolio_is_answered_with_its_state_in_the_contracts_order(client: Client) -> None:
    answer = client.create()
    assert answer.status == 201
    assert tuple(answer.body) == PortfolioState.__struct_fields__
    assert (answer.body["total_value"], answer.body["net_deposits"]) == (Decimal("100000.00"), Decimal("100000.00"))


def test_the_same_request_again_is_200_however_it_is_written_and_another_one_409(client: Client) -> None:
    assert client.create(initial_cash="100000.50").status == 201
    assert client.create(initial_cash=100000.5, settings={"allow_short": False}).status == 200
    for changed in ({"initial_cash": 1}, {"portfolio_name": "Other"}, {"settings": {"allow_short": True}}):
        answer = client.create(**{"initial_cash": "100000.50"} | changed)
        assert (answer.status, answer.code) == (409, "PORTFOLIO_EXISTS")
    assert client.create(initial_cash="100000.50", sub="bob").code == "PORTFOLIO_EXISTS"


def test_without_an_id_every_request_makes_another_portfolio(client: Client) -> None:
    ids = {client.create(portfolio_id=None).body["portfolio_id"] for _ in range(3)}
    assert len(ids) == 3


def test_without_an_id_the_same_idempotency_key_means_the_same_portfolio_of_this_owner(client: Client) -> None:
    key = {"idempotency-key": "k-1"}  # header names have no case
    first = client.create(portfolio_id=None, headers=key)
    again = client.create(portfolio_id=None, headers=key)
    others = client.create(portfolio_id=None, headers=key, sub="bob")
    assert (first.status, again.status, others.status) == (201, 200, 201)
    assert first.body["portfolio_id"] == again.body["portfolio_id"] != others.body["portfolio_id"]
    assert client.create(portfolio_id=None, headers=key, initial_cash=1).status == 409


def test_a_header_counts_also_where_a_gateway_gives_single_values_only(client: Client) -> None:
    key = {"Idempotency-Key": "k-1"}
    body = {"portfolio_name": "P", "account_type": "demo", "account_kind": "cash", "base_currency": "USD",
            "cost_basis": "average"}  # fmt: skip
    statuses = [
        client.send("POST", "/api/v1/portfolios", body, headers=key, multiValueHeaders=None).status for _ in range(2)
    ]
    assert statuses == [201, 200]


def test_an_idempotency_key_of_another_form_is_refused(client: Client) -> None:
    for key in ("a b", "x" * 101, "ä"):
        answer = client.create(headers={"Idempotency-Key": key})
        assert (answer.status, answer.details[0]["field"]) == (400, "idempotency-key")


def test_a_margin_account_with_leverage_and_a_fifo_portfolio_are_created_as_asked(client: Client) -> None:
    assert client.create(account_kind="margin", leverage=30, cost_basis="fifo").status == 201
    stored = client.parts.ledger.load(["12345"])["12345"]
    assert (stored.account_kind, stored.leverage, stored.cost_basis) == ("margin", Decimal(30), "fifo")
    assert client.create(account_kind="margin", leverage="30.0", cost_basis="fifo").status == 200
    assert client.create(account_kind="margin", leverage=20, cost_basis="fifo").code == "PORTFOLIO_EXISTS"


@pytest.mark.parametrize("change", [{"leverage": 2}, *({"account_kind": "margin", "leverage": wrong} for wrong in
                                    (0, -1, "0.5", 1_001, "NaN", "1.1234567"))])  # fmt: skip
def test_a_leverage_is_from_1_to_1000_and_of_margin_accounts_only(client: Client, change: dict[str, object]) -> None:
    answer = client.create(**change)  # type: ignore[arg-type]
    assert (answer.status, answer.code) == (400, "INVALID")
    assert "leverage" in answer.message


@pytest.mark.parametrize("cash", [-1, "-0.01", "0.0000001", 10**15, "NaN", None])
def test_initial_cash_is_a_plain_amount_or_left_out(client: Client, cash: object) -> None:
    answer = client.create(initial_cash=cash)
    if cash is None:
        assert (answer.status, answer.body["total_value"]) == (201, 0)
    else:
        assert (answer.status, answer.code) == (400, "INVALID")
        assert "initial_cash" in answer.message


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"account_type": "real"}, "account_type"),
        ({"account_kind": "gold"}, "account_kind"),
        ({"portfolio_name": 5}, "portfolio_name"),
        ({"settings": {"allow_short": "yes"}}, "settings.allow_short"),
        ({"cost_basis": None}, "cost_basis"),
    ],
)
def test_a_wrong_or_missing_field_is_named(client: Client, change: dict[str, object], field: str) -> None:
    answer = client.create(**change)  # type: ignore[arg-type]
    assert (answer.status, answer.code, answer.details[0]["field"]) == (400, "INVALID", field)


def test_a_reserved_id_needs_its_scope(client: Client) -> None:
    body = {"portfolio_id": "paper_1", "portfolio_name": "P", "account_type": "paper", "account_kind": "cash",
            "base_currency": "USD", "cost_basis": "average"}  # fmt: skip
    assert client.send("POST", "/api/v1/portfolios", body, scope="prices:write").code == "MISSING_SCOPE"
    assert client.send("POST", "/api/v1/portfolios", body, scope="fills:write").status == 201


def test_the_list_has_ones_own_portfolios_page_by_page(client: Client) -> None:
    for number in range(101):
        client.create(portfolio_id=f"p{number:03}")
    client.create(portfolio_id="zz", sub="bob")
    first = client.send("GET", "/api/v1/portfolios").body
    assert first["portfolios"][0] == {
        "portfolio_id": "p000",
        "portfolio_name": "Retirement",
        "account_type": "live",
        "account_kind": "cash",
        "base_currency": "USD",
        "status": "ACTIVE",
        "ledger_version": 1,
        "settings": {
            "allow_short": False,
            "update_interval_ms": None,
            "margin_call_percent": None,
            "stop_out_percent": None,
            "auto_liquidate": False,
            "target_weights": {},
            "benchmark": None,
            "broker_share": None,
        },
    }
    assert len(first["portfolios"]) == 100
    second = client.send("GET", "/api/v1/portfolios", query={"cursor": first["cursor"]}).body
    assert [item["portfolio_id"] for item in second["portfolios"]] == ["p100"]
    assert second["cursor"] is None
    assert client.send("GET", "/api/v1/portfolios", query={"cursor": "mine"}).code == "INVALID_CURSOR"


def test_an_update_answers_with_the_state_after_it(client: Client) -> None:
    client.create()
    client.prices({"symbol": "AAPL", "ts": NOW_MS, "last": 160})
    state = client.update(buy(10, 150, fee=1), {"transaction_type": "WITHDRAWAL", "amount": 99}).body
    assert state["total_value"] == Decimal("100000.00") + 100 - 1 - 99
    assert state["ledger_version"] == 2
    assert state == client.state()


def test_an_update_is_all_or_nothing_and_names_the_entry_that_failed(client: Client) -> None:
    client.create()
    answer = client.update(buy(1, 1), buy(1, 1_000_000))
    assert (answer.status, answer.code) == (422, "INSUFFICIENT_CASH")
    assert answer.details[-1]["index"] == 1
    assert client.state()["ledger_version"] == 1


@pytest.mark.parametrize(
    ("line", "status", "code"),
    [
        (buy(1, 1, instrument_id="NOPE"), 400, "UNKNOWN_SYMBOL"),
        (buy(1, 1, instrument_id="EURUSD"), 422, "MARGIN_ACCOUNT_NEEDED"),
        (buy(1, 1, instrument_id="CASH:USD"), 400, "INVALID"),
        (buy(1, 1, instrument_id=None), 400, "INVALID"),
        (buy(-1, 1), 400, "INVALID"),
        (buy(0, 1), 400, "INVALID"),
        (buy(1, -1), 400, "INVALID"),
        (buy(1, 1, fee=-1), 400, "INVALID"),
        (buy(1, None), 400, "INVALID"),
        (buy(1, 1, amount=1), 400, "INVALID"),
        (buy(1, 1, timestamp=NOW_MS + 5_001), 400, "TIMESTAMP_IN_FUTURE"),
        (buy(1, 1, timestamp="yesterday"), 400, "INVALID"),
        (buy(1, 1, transaction_id="a b"), 400, "INVALID"),
        (buy(1, 1, transaction_type="SELL"), 422, "INSUFFICIENT_POSITION"),
        (buy(1, 1, transaction_type="GIFT"), 400, "INVALID"),
        (buy(1, 1, ratio="4:1"), 400, "INVALID"),
        (buy(1, 1, reason="because"), 400, "INVALID"),
        ({"transaction_type": "SPLIT", "instrument_id": "AAPL"}, 400, "INVALID"),
        ({"transaction_type": "SPLIT", "ratio": "4:1"}, 400, "INVALID"),
        ({"transaction_type": "SPLIT", "instrument_id": "AAPL", "ratio": "4"}, 400, "INVALID"),
        ({"transaction_type": "SPLIT", "instrument_id": "AAPL", "ratio": "0:1"}, 400, "INVALID"),
        ({"transaction_type": "SPLIT", "instrument_id": "AAPL", "ratio": 4}, 400, "INVALID"),
        ({"transaction_type": "SPLIT", "instrument_id": "AAPL", "ratio": "4:1", "price": 1}, 400, "INVALID"),
        ({"transaction_type": "FX", "from": "USD", "to": "EUR", "amount": 5}, 400, "INVALID"),
        ({"transaction_type": "FX", "from": "USD", "amount": 5, "rate": 1}, 400, "INVALID"),
        ({"transaction_type": "FX", "from": "USD", "to": "EUR", "amount": 5, "rate": 0}, 400, "INVALID"),
        ({"transaction_type": "FX", "from": "USD", "to": "eur", "amount": 5, "rate": 1}, 400, "INVALID"),
        (
            {"transaction_type": "FX", "from": "USD", "to": "EUR", "amount": 5, "rate": 1, "currency": "USD"},
            400,
            "INVALID",
        ),
        (
            {"transaction_type": "FX", "from": "USD", "to": "EUR", "amount": 100_001, "rate": 1},
            422,
            "INSUFFICIENT_CASH",
        ),
        ({"transaction_type": "ADJUSTMENT", "amount": 5, "transaction_id": "a"}, 400, "INVALID"),
        ({"transaction_type": "ADJUSTMENT", "amount": 5, "reason": "no id"}, 400, "INVALID"),
        (
            {
                "transaction_type": "ADJUSTMENT",
                "reason": "x",
                "transaction_id": "a",
                "instrument_id": "AAPL",
                "amount": 5,
            },
            400,
            "INVALID",
        ),
        ({"transaction_type": "ADJUSTMENT", "reason": "x" * 201, "amount": 5}, 400, "INVALID"),
        ({"transaction_type": "DIVIDEND", "amount": 0}, 400, "INVALID"),
        ({"transaction_type": "DIVIDEND", "amount": 5, "fee": 1}, 400, "INVALID"),
        ({"transaction_type": "FEE"}, 400, "INVALID"),
        ({"transaction_type": "SWAP", "amount": 1, "quantity_change": 1, "price": 2}, 400, "INVALID"),
        ({"transaction_type": "DEPOSIT", "amount": 1, "instrument_id": "AAPL"}, 400, "INVALID"),
        ({"transaction_type": "DEPOSIT"}, 400, "INVALID"),
        ({"transaction_type": "DEPOSIT", "amount": 0}, 400, "INVALID"),
        ({"transaction_type": "DEPOSIT", "amount": -5}, 400, "INVALID"),
        ({"transaction_type": "DEPOSIT", "amount": 5, "currency": "EUR"}, 422, "RATE_MISSING"),
        ({"transaction_type": "WITHDRAWAL", "amount": 100_001}, 422, "INSUFFICIENT_CASH"),
        ("no object", 400, "INVALID"),
    ],
)
def test_a_line_that_cannot_be_booked_is_refused(
    client: Client, line: dict[str, object], status: int, code: str
) -> None:
    client.create()
    answer = client.update(line)
    assert (answer.status, answer.code) == (status, code)
    assert client.parts.ledger.load(["12345"])["12345"].version == 1


def test_the_number_of_lines_is_limited_and_the_answer_says_how(client: Client) -> None:
    client.create()
    for lines in (0, 41, 2_000):
        answer = client.update(*[{"transaction_type": "DEPOSIT", "amount": 1}] * lines)
        assert (answer.status, answer.code) == (400, "TOO_MANY_ENTRIES")
        assert answer.message == f"updates has 1 to 40 entries, not {lines}"


def test_a_change_of_more_than_a_hundred_items_is_refused_naming_them(client: Client) -> None:
    client.create(initial_cash=None)
    currencies = ("EUR", "GBP", "JPY", "CHF", "SEK")
    client.prices(*({"symbol": f"{name}USD", "ts": NOW_MS, "last": 1} for name in currencies))
    for number in range(40):
        client.parts.instruments.put(Instrument(f"S{number}", "stock", currencies[number % 5]))
    for name in currencies:
        client.parts.instruments.put(Instrument(f"{name}USD", "forex", "USD", base_currency=name))
    client.prices(*({"symbol": f"{name}USD", "ts": NOW_MS, "last": 1} for name in currencies))
    client.update(*({"transaction_type": "DEPOSIT", "amount": 100, "currency": name} for name in currencies))
    lines = [buy(1, 1, instrument_id=f"S{number}") for number in range(40)]
    assert client.update(*lines).status == 200
    client.create(portfolio_id="other", initial_cash=None)
    body = {"portfolio_id": "other", "timestamp": NOW_MS, "updates": [
        *({"transaction_type": "ADJUSTMENT", "reason": "moved here", "transaction_id": f"a-{number}",
           "instrument_id": f"S{number}", "quantity_change": 1, "price": 1} for number in range(40)),
    ]}  # fmt: skip
    answer = client.send("POST", "/api/v1/portfolio/other/update", body)
    assert (answer.status, answer.code) == (422, "TOO_MANY_ITEMS")
    assert answer.details[0]["limit"] == 100
    assert client.parts.ledger.load(["other"])["other"].version == 1


def test_the_portfolio_of_the_body_must_be_that_of_the_path(client: Client) -> None:
    client.create()
    answer = client.update(buy(1, 1), portfolio_id="999")
    assert (answer.status, answer.code, answer.details) == (400, "INVALID", [{"field": "portfolio_id"}])


def test_a_request_shorter_than_the_one_that_had_its_key_is_another_body(client: Client) -> None:
    client.create()
    key = {"Idempotency-Key": "k-1"}
    assert client.update(buy(10, 150), buy(1, 150), headers=key).status == 200
    assert client.update(buy(10, 150), headers=key).code == "TRANSACTION_CONFLICT"
    assert client.update(buy(10, 150), buy(1, 150), buy(2, 150), headers=key).code == "TRANSACTION_CONFLICT"
    assert client.update(buy(10, 150), buy(1, 150), headers=key).body["ledger_version"] == 2


@pytest.mark.parametrize(
    ("line", "headers"),
    [({"transaction_id": "fill:f1"}, None), ({}, {"Idempotency-Key": "fill:f1"})],
)
def test_the_ids_of_reported_fills_are_nobody_elses(
    client: Client, line: dict[str, object], headers: dict[str, str] | None
) -> None:
    client.create()
    answer = client.update(buy(10, 150, **line), headers=headers)
    assert (answer.status, answer.code) == (400, "INVALID")
    assert "reported fills" in answer.message


def test_an_idempotency_key_makes_an_update_repeatable_and_refuses_another_body(client: Client) -> None:
    client.create()
    key = {"Idempotency-Key": "k-1"}
    lines = [buy(1, 10), {"transaction_type": "DEPOSIT", "amount": 5}]
    assert client.update(*lines, headers=key).body["ledger_version"] == 2
    assert client.update(*lines, headers=key).body["ledger_version"] == 2
    answer = client.update(buy(2, 10), headers=key)
    assert (answer.status, answer.code) == (409, "TRANSACTION_CONFLICT")
    assert set(client.parts.ledger.transactions("12345", ["k-1:0", "k-1:1"])) == {"k-1:0", "k-1:1"}


def test_a_refresh_is_promised_on_the_refresh_queue(client: Client) -> None:
    client.create()
    answer = client.send("POST", "/api/v1/portfolio/12345/refresh")
    assert (answer.status, answer.body) == (202, {"portfolio_id": "12345", "status": "accepted"})
    [bundle] = client.parts.queues.receive("refresh")
    assert bundle.message.keys == ["live:12345"]
