"""The client: a method a call, typed answers, exact decimals, retries of what may arrive twice without harm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode
from uuid import uuid4

import msgspec

from foliostream_client import models
from foliostream_client.analyzing import Analysis, analysis
from foliostream_client.errors import ApiError
from foliostream_client.transport import Answer, Rest, Socket, dumps
from foliostream_client.watching import Event, Watch

T = TypeVar("T")
Amount = Decimal | int | str

# What one call takes.
MAX_PRICES: Final = 1_000
MAX_FILLS: Final = 100
MAX_TRANSACTIONS: Final = 40
MAX_CLOSES: Final = 2_600
MAX_BODY_BYTES: Final = 256 * 1024
# Pages of a list; beyond that somebody answers with the same cursor for ever.
MAX_PAGES: Final = 100_000


class Client:
    """One deployment, as the owner of ``token``. Every method raises ``ApiError`` if the API refuses or nothing
    answers. ``ws_url`` None: the WebSocket's address is asked for with a ticket."""

    def __init__(self, rest_url: str, token: str | None = None, ws_url: str | None = None) -> None:
        self.rest = Rest(rest_url, token)
        self._token = token
        self._ws_url = ws_url

    # Portfolios

    def portfolios(self) -> Iterator[models.PortfolioSummary]:
        """All of the caller's portfolios, in the order of their ids; pages are asked for as they are needed."""
        for page in self._pages("/api/v1/portfolios", {}, models.PortfolioPage):
            yield from page.portfolios

    def create(self, portfolio: Mapping[str, Any]) -> models.PortfolioState:
        """A new portfolio: ``{portfolio_id?, portfolio_name, account_type, account_kind, base_currency, cost_basis,
        leverage?, initial_cash?, settings?, broker?}``. The same again changes nothing; the same id with another body
        is 409."""
        return self._keyed("POST", "/api/v1/portfolios", portfolio, models.PortfolioState)

    def change(self, portfolio_id: str, changes: Mapping[str, Any]) -> models.PortfolioState:
        """Another ``status``, other ``settings``, or both; the state after."""
        return self._call("PATCH", _portfolio(portfolio_id), changes, models.PortfolioState, repeatable=True)

    def state(self, portfolio_id: str) -> models.PortfolioState:
        """The newest state."""
        return self._get(_portfolio(portfolio_id, "state"), models.PortfolioState)

    def state_json(self, portfolio_id: str) -> dict[str, Any]:
        """The newest state as the server wrote it, with the fields that this client does not know."""
        body: dict[str, Any] = self._answer("GET", _portfolio(portfolio_id, "state")).body
        return body

    def positions(self, portfolio_id: str) -> list[models.Position]:
        """The positions of the newest state, cash included as ``CASH:USD``."""
        return self._get(_portfolio(portfolio_id, "positions"), list[models.Position])

    def analytics(self, portfolio_id: str) -> models.Analytics:
        """Risk and return over the closed days, and how it is invested."""
        return self._get(_portfolio(portfolio_id, "analytics"), models.Analytics)

    def transactions(self, portfolio_id: str) -> Iterator[models.Transaction]:
        """What was booked, newest first; pages are asked for as they are needed."""
        for page in self._pages(_portfolio(portfolio_id, "transactions"), {}, models.TransactionPage):
            yield from page.transactions

    def history(self, portfolio_id: str, first: str | None = None, last: str | None = None) -> models.History:
        """The closed days from ``first`` to ``last`` (``2026-02-26``), both included."""
        query = _query({"from": first, "to": last})
        return self._get(_portfolio(portfolio_id, "history") + query, models.History)

    def update(
        self, portfolio_id: str, updates: Sequence[Mapping[str, Any]], timestamp: int | str, key: str | None = None
    ) -> models.PortfolioState:
        """Book 1 to ``MAX_TRANSACTIONS`` transactions, all or none; the state after. ``timestamp`` (epoch milliseconds
        or ISO 8601) is that of every line that has none. ``key`` makes the call repeatable also by another process;
        without it one is made, so that a lost answer books nothing twice."""
        body = {"portfolio_id": portfolio_id, "timestamp": timestamp, "updates": list(updates)}
        return self._keyed("POST", _portfolio(portfolio_id, "update"), body, models.PortfolioState, key)

    def refresh(self, portfolio_id: str) -> None:
        """Have it valued ahead of everything else; the answer only promises it."""
        self._answer("POST", _portfolio(portfolio_id, "refresh"), repeatable=True)

    def margin_preview(self, portfolio_id: str, orders: Sequence[Mapping[str, Any]]) -> models.MarginPreview:
        """What ``[{instrument_id, quantity, price?, fee?}]`` would do to the margin; ``quantity`` negative sells."""
        path = _portfolio(portfolio_id, "margin/preview")
        return self._call("POST", path, {"orders": list(orders)}, models.MarginPreview, repeatable=True)

    def reconcile(self, portfolio_id: str, *, apply: bool = False) -> models.ReconcileReport:
        """Compare with the broker; ``apply`` books what is evident. A broker that does not answer is ``failed``."""
        path = _portfolio(portfolio_id, "reconcile")
        return self._call("POST", path, {"apply": apply}, models.ReconcileReport, repeatable=not apply)

    # Paper accounts

    def place_order(self, portfolio_id: str, order: Mapping[str, Any]) -> models.Order:
        """``{instrument_id, side, quantity, order_type, limit_price?, client_order_id?}``; without an id one is made,
        so that a lost answer places nothing twice."""
        keyed = {"client_order_id": uuid4().hex} | dict(order)
        return self._call("POST", _portfolio(portfolio_id, "orders"), keyed, models.Order, repeatable=True)

    def orders(self, portfolio_id: str, state: str | None = None) -> Iterator[models.Order]:
        """Orders, those with the highest ids first; only those of ``state`` if one is named."""
        for page in self._pages(_portfolio(portfolio_id, "orders"), {"state": state}, models.OrderPage):
            yield from page.orders

    def cancel_order(self, portfolio_id: str, order_id: str) -> models.Order:
        """The order, CANCELLED now or before."""
        path = _portfolio(portfolio_id, f"orders/{_part(order_id)}")
        return self._call("DELETE", path, None, models.Order, repeatable=True)

    def reset(self, portfolio_id: str) -> models.PortfolioState:
        """A paper account back to its start; the state after."""
        return self._call("POST", _portfolio(portfolio_id, "reset"), None, models.PortfolioState, repeatable=False)

    # Prices, fills, instruments

    def send_prices(self, updates: Sequence[Mapping[str, Any]]) -> models.PricesTaken:
        """Prices ``{symbol, ts, bid?, ask?, last?, seq?, open?, previous_close?}`` in batches of ``MAX_PRICES`` or of
        what a body may have; each is judged on its own (scope prices:write)."""
        accepted, rejected = 0, []
        for batch in _batches(updates, MAX_PRICES):
            taken = self._call("POST", "/api/v1/prices", {"updates": batch}, models.PricesTaken, repeatable=True)
            accepted += taken.accepted
            rejected += taken.rejected
        return models.PricesTaken(accepted, rejected)

    def send_fills(self, fills: Sequence[Mapping[str, Any]]) -> models.FillsTaken:
        """Fills in batches of ``MAX_FILLS``; each counts once by its ``fill_id`` (scope fills:write)."""
        accepted, begin = 0, 0
        rejected: list[models.RejectedFill] = []
        for batch in _batches(fills, MAX_FILLS):
            taken = self._call("POST", "/api/v1/fills", batch, models.FillsTaken, repeatable=True)
            accepted += taken.accepted
            rejected += [msgspec.structs.replace(item, index=item.index + begin) for item in taken.rejected]
            begin += len(batch)
        return models.FillsTaken(accepted, rejected)

    def instrument(self, symbol: str) -> models.Instrument:
        """A registered instrument; ``ApiError`` (404) if there is none of this symbol."""
        return self._get(f"/api/v1/instruments/{_part(symbol)}", models.Instrument)

    def put_instrument(self, symbol: str, instrument: Mapping[str, Any]) -> models.Instrument:
        """Register or change an instrument: ``{kind, currency, ...}`` (scope instruments:write)."""
        path = f"/api/v1/instruments/{_part(symbol)}"
        return self._call("PUT", path, instrument, models.Instrument, repeatable=True)

    def closes(self, symbol: str, first: str | None = None, last: str | None = None) -> models.Closes:
        """Daily closes from ``first`` to ``last``, oldest first."""
        query = _query({"from": first, "to": last})
        return self._get(f"/api/v1/instruments/{_part(symbol)}/history{query}", models.Closes)

    def put_closes(self, symbol: str, closes: Mapping[str, Amount], *, adjusted: bool = False) -> models.ClosesKept:
        """Daily closes by date, merged with those there (scope instruments:write); ``adjusted``: they are divided by
        the splits registered so far. At most ``MAX_CLOSES``."""
        body = {"closes": [{"date": day, "close": close} for day, close in closes.items()], "adjusted": adjusted}
        path = f"/api/v1/instruments/{_part(symbol)}/history"
        return self._call("PUT", path, body, models.ClosesKept, repeatable=True)

    # The deployment

    def status(self) -> models.MarketStatus:
        """How the system is (scope admin)."""
        return self._get("/api/market/portfolio/status", models.MarketStatus)

    def health(self) -> models.Health:
        """Whether the stores answer; also where they do not. Needs no token."""
        answer = self.rest.call("GET", "/health")
        if answer.status == 503:
            return msgspec.json.decode(answer.raw, type=models.Health)
        return self._get("/health", models.Health)

    def ws_ticket(self) -> models.Ticket:
        """What opens one WebSocket connection where no header can be sent."""
        return self._call("POST", "/api/v1/ws-ticket", None, models.Ticket, repeatable=True)

    # The WebSocket

    def connect(self, query: str = "") -> Socket:
        """A WebSocket of one's own, for messages this client has no method for; ``SocketError`` if it is refused."""
        if self._ws_url is None:
            self._ws_url = self.ws_ticket().url.partition("?")[0]
        return Socket(self._ws_url, self._token, query=query)

    def watch(self, portfolio_ids: Iterable[str]) -> Iterator[Event]:
        """What happens to portfolios (1 to 50), as it happens, without an end: see ``watching``."""
        return Watch(self.connect, self.state_json, list(portfolio_ids)).events()

    def analyze(self, ticker: str, portfolio_id: str) -> Iterator[Analysis]:
        """The metrics of a ticker that the portfolio holds, one by one as they are ready: see ``analyzing``."""
        return analysis(self.connect, ticker, portfolio_id)

    def _get(self, path: str, kind: type[T]) -> T:
        return self._call("GET", path, None, kind, repeatable=True)

    def _keyed(self, method: str, path: str, body: object, kind: type[T], key: str | None = None) -> T:
        headers = {"Idempotency-Key": key or uuid4().hex}
        return _decoded(self._answer(method, path, body, headers, repeatable=True), path, kind)

    def _call(self, method: str, path: str, body: object, kind: type[T], *, repeatable: bool) -> T:
        return _decoded(self._answer(method, path, body, repeatable=repeatable), path, kind)

    def _answer(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        repeatable: bool = True,
    ) -> Answer:
        return self.rest.expect(method, path, body, headers, repeatable=repeatable)

    def _pages(self, path: str, query: Mapping[str, str | None], kind: type[T]) -> Iterator[T]:
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = self._get(path + _query({**query, "cursor": cursor}), kind)
            yield page
            cursor = getattr(page, "cursor", None)
            if cursor is None:
                return
        raise ApiError(f"GET {path}", 200, "", f"more than {MAX_PAGES:,} pages")


def _decoded(answer: Answer, path: str, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.raw, type=kind)
    except msgspec.MsgspecError as fault:
        raise ApiError(path, answer.status, "", f"the answer is not what it should be: {fault}") from fault


def _portfolio(portfolio_id: str, rest: str = "") -> str:
    return f"/api/v1/portfolio/{_part(portfolio_id)}" + (f"/{rest}" if rest else "")


def _part(name: str) -> str:
    """A name as a part of a path; ``M&M`` is a symbol."""
    return quote(name, safe="")


def _query(parameters: Mapping[str, str | None]) -> str:
    given = {name: value for name, value in parameters.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def _batches(items: Sequence[Mapping[str, Any]], most: int) -> Iterator[list[Mapping[str, Any]]]:
    """Cut by number, and by size where a body would be too large."""
    batch: list[Mapping[str, Any]] = []
    size = 0
    for item in items:
        bytes_more = len(dumps(item)) + 1
        if batch and (len(batch) == most or size + bytes_more > MAX_BODY_BYTES - 100):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += bytes_more
    if batch:
        yield batch
