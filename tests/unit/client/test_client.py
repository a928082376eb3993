"""The client against a server of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from foliostream.api import shapes
from foliostream.domain import state as server_states
from foliostream_client import ApiError, Client, models
from foliostream_client.client import MAX_BODY_BYTES, MAX_FILLS, MAX_PRICES
from foliostream_client.transport import RETRIES, Rest, is_loopback, pause_s
from tests.unit.client.servers import Reply, Request, http
from tests.unit.client.states import position, state

REFUSED = {"error": {"code": "PORTFOLIO_NOT_FOUND", "message": "no such", "request_id": "r", "details": [{"index": 3}]}}
PAIRS = {
    models.PortfolioState: server_states.PortfolioState,
    models.Position: server_states.PositionState,
    models.Margin: server_states.MarginState,
    models.PortfolioSummary: shapes.PortfolioSummary,
    models.Transaction: shapes.TransactionOut,
    models.Day: shapes.DayOut,
    models.History: shapes.HistoryOut,
    models.Analytics: shapes.PortfolioAnalytics,
    models.MarginPreview: shapes.MarginPreview,
    models.ReconcileReport: shapes.ReconcileReport,
    models.Discrepancy: shapes.DiscrepancyOut,
    models.Order: shapes.OrderOut,
    models.PricesTaken: shapes.PricesTaken,
    models.RejectedPrice: shapes.RefusedPrice,
    models.FillsTaken: shapes.FillsTaken,
    models.RejectedFill: shapes.RejectedFill,
    models.Instrument: shapes.InstrumentOut,
    models.Closes: shapes.ClosesOut,
    models.ClosesKept: shapes.ClosesKept,
    models.MarketStatus: shapes.MarketStatus,
    models.QueueState: shapes.QueueState,
    models.Freshness: shapes.Freshness,
    models.AlarmStates: shapes.AlarmStates,
    models.RaisedAlarm: shapes.RaisedAlarm,
    models.Health: shapes.Health,
    models.Ticket: shapes.TicketOut,
}


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rest.__init__, "__kwdefaults__", {"pause": lambda _: None})


def always(status: int, body: object) -> Callable[[Request], Reply]:
    return lambda _: Reply(status, body)


@pytest.mark.parametrize("mine", PAIRS, ids=lambda kind: kind.__name__)
def test_every_field_of_an_answer_is_one_that_the_server_sends(mine: type[msgspec.Struct]) -> None:
    sent = {field.encode_name for field in msgspec.structs.fields(PAIRS[mine])}
    assert {field.encode_name for field in msgspec.structs.fields(mine)} <= sent


def test_amounts_are_exact_and_fields_that_are_not_known_do_no_harm() -> None:
    raw = json.dumps(state(position("AAPL"))).replace('"quantity": 1', '"quantity": 0.10000000000000000001')
    with http(always(200, raw[:-1] + ', "brand_new": [1]}')) as server:
        answer = Client(server.url, "secret").state("growth")
    assert answer.positions[0].quantity == Decimal("0.10000000000000000001")
    assert server.requests[0].headers["Authorization"] == "Bearer secret"
    assert server.requests[0].path == "/api/v1/portfolio/growth/state"


def test_names_are_quoted_in_paths() -> None:
    with http(always(404, REFUSED)) as server, pytest.raises(ApiError):
        Client(server.url).instrument("M&M/X")
    assert server.requests[0].path == "/api/v1/instruments/M%26M%2FX"


def test_a_refusal_tells_status_code_message_and_details() -> None:
    with http(always(404, REFUSED)) as server, pytest.raises(ApiError) as caught:
        Client(server.url).state("growth")
    error = caught.value
    assert (error.status, error.code, error.message, error.details) == (
        404,
        "PORTFOLIO_NOT_FOUND",
        "no such",
        [{"index": 3}],
    )
    assert len(server.requests) == 1


def test_a_refusal_of_the_gateway_itself_tells_its_message() -> None:
    with http(always(401, {"message": "Unauthorized"})) as server, pytest.raises(ApiError, match="401 Unauthorized"):
        Client(server.url).state("growth")


def test_an_answer_of_another_shape_is_an_error_of_the_api() -> None:
    with http(always(200, {"surprise": 1})) as server, pytest.raises(ApiError, match="not what it should be"):
        Client(server.url).state("growth")


def test_pages_are_followed_to_the_last() -> None:
    def page(request: Request) -> Reply:
        number = int(request.path.partition("cursor=c")[2] or 0)
        texts = ("portfolio_name", "account_type", "account_kind", "base_currency", "status")
        one = {"portfolio_id": f"p{number}", "ledger_version": 1} | dict.fromkeys(texts, "x")
        return Reply(200, {"portfolios": [one], "cursor": f"c{number + 1}" if number < 2 else None})

    with http(page) as server:
        assert [item.portfolio_id for item in Client(server.url).portfolios()] == ["p0", "p1", "p2"]


def test_what_may_arrive_twice_is_sent_again_a_limited_number_of_times() -> None:
    with http(always(503, {})) as server, pytest.raises(ApiError):
        Client(server.url).state("growth")
    assert len(server.requests) == RETRIES + 1


def test_a_retry_that_is_answered_is_the_answer() -> None:
    replies = iter([Reply(503, {}, {"Retry-After": "1"}), Reply(429, {}), Reply(200, state())])
    with http(lambda _: next(replies)) as server:
        assert Client(server.url).state("growth").portfolio_name == "Growth"
    assert len(server.requests) == 3


def test_every_try_of_an_update_carries_the_same_key_so_that_it_counts_once() -> None:
    replies = iter([Reply(504, {}), Reply(200, state())])
    with http(lambda _: next(replies)) as server:
        Client(server.url).update("growth", [{"transaction_type": "DEPOSIT", "amount": Decimal("0.10")}], 1)
    first, second = (request.headers["Idempotency-Key"] for request in server.requests)
    assert first == second
    assert len(first) == 32


def test_an_order_without_an_id_of_its_own_is_given_one() -> None:
    with http(always(503, {})) as server, pytest.raises(ApiError):
        Client(server.url).place_order("p", {"instrument_id": "AAPL"})
    assert len({request.body["client_order_id"] for request in server.requests}) == 1
    assert len(server.requests) > 1


def test_an_order_is_looked_at_before_and_taken_back_after_it_was_placed() -> None:
    figures = dict.fromkeys(models.Margin.__struct_fields__) | {"balance": 100, "free": 100, "state": "ok"}
    preview = {"portfolio_id": "p", "base_currency": "USD", "ledger_version": 1, "accepted": True}
    preview |= {"before": figures, "after": figures}
    named = {"order_id": "2026/1", "portfolio_id": "p", "instrument_id": "AAPL", "side": "SELL", "quantity": 3}
    order = named | {"order_type": "market", "state": "CANCELLED", "created_at": "", "updated_at": ""}
    replies = {"POST": Reply(200, preview), "DELETE": Reply(200, order)}
    with http(lambda request: replies[request.method]) as server:
        client = Client(server.url)
        seen = client.margin_preview("p", [{"instrument_id": "AAPL", "quantity": -3}])
        gone = client.cancel_order("p", "2026/1")
    assert seen.after is not None
    assert (seen.accepted, seen.after.free, gone.state) == (True, 100, "CANCELLED")
    asked = [(request.method, request.path, request.body) for request in server.requests]
    assert asked == [
        ("POST", "/api/v1/portfolio/p/margin/preview", {"orders": [{"instrument_id": "AAPL", "quantity": -3}]}),
        ("DELETE", "/api/v1/portfolio/p/orders/2026%2F1", None),
    ]


@pytest.mark.parametrize(
    "call", [lambda client: client.reset("p"), lambda client: client.reconcile("p", apply=True)], ids=["reset", "apply"]
)
def test_what_might_be_done_twice_is_not_repeated(call: Callable[[Client], Any]) -> None:
    with http(always(503, {})) as server, pytest.raises(ApiError):
        call(Client(server.url))
    assert len(server.requests) == 1


def test_where_nobody_answers_the_status_is_zero() -> None:
    with http(always(200, {})) as server:
        pass
    with pytest.raises(ApiError) as caught:
        Client(server.url).state("growth")
    assert caught.value.status == 0


def test_a_token_is_not_carried_to_another_address() -> None:
    with (
        http(always(200, state())) as other,
        http(lambda _: Reply(302, {}, {"Location": other.url + "/stolen"})) as server,
        pytest.raises(ApiError) as caught,
    ):
        Client(server.url, "secret").state("growth")
    assert caught.value.status == 302
    assert other.requests == []


def test_prices_go_in_batches_and_what_was_rejected_is_gathered() -> None:
    def take(request: Request) -> Reply:
        last = request.body["updates"][-1]["symbol"]
        rejected = [{"symbol": last, "code": "STALE", "message": "older"}]
        return Reply(202, {"accepted": len(request.body["updates"]) - 1, "rejected": rejected})

    updates = [{"symbol": f"S{number}", "ts": 1, "last": Decimal("1.10")} for number in range(MAX_PRICES + 5)]
    with http(take) as server:
        taken = Client(server.url).send_prices(updates)
    assert [len(request.body["updates"]) for request in server.requests] == [MAX_PRICES, 5]
    assert taken.accepted == MAX_PRICES + 3
    assert [item.symbol for item in taken.rejected] == ["S999", "S1004"]


def test_a_body_is_not_larger_than_the_server_takes() -> None:
    updates = [{"symbol": "X" * 1_000, "ts": 1} for _ in range(600)]
    with http(always(202, {"accepted": 0, "rejected": []})) as server:
        Client(server.url).send_prices(updates)
    assert sum(len(request.body["updates"]) for request in server.requests) == 600
    assert all(int(request.headers["Content-Length"]) <= MAX_BODY_BYTES for request in server.requests)


def test_a_rejected_fill_keeps_its_place_among_all() -> None:
    rejected = [{"index": 1, "fill_id": "f", "code": "INVALID", "message": "no"}]
    with http(always(202, {"accepted": 0, "rejected": rejected})) as server:
        taken = Client(server.url).send_fills([{"fill_id": str(number)} for number in range(MAX_FILLS + 2)])
    assert [item.index for item in taken.rejected] == [1, MAX_FILLS + 1]


def test_a_deployment_that_is_down_tells_its_health() -> None:
    body = {"status": "down", "hot_store": "valkey", "checks": {"ledger": {"status": "down", "latency_ms": 1.5}}}
    with http(always(503, body)) as server:
        assert Client(server.url).health().status == "down"


def test_pauses_grow_and_end_and_differ() -> None:
    assert max(pause_s(0) for _ in range(100)) <= 0.25
    assert len({pause_s(3) for _ in range(10)}) > 1
    assert max(pause_s(50) for _ in range(100)) <= 10


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1/x", True),
        ("ws://localhost", True),
        ("http://[::1]:1", True),
        ("https://example.com", False),
    ],
)
def test_only_this_machine_is_reached_without_a_proxy(url: str, expected: bool) -> None:
    assert is_loopback(url) is expected
