"""A broker on this machine: answers as Kite Connect does, with accounts that are told what to own and how to fail.

    python -m local.kite PORT

Every user id is an account, its access tokens are `token-{user id}` and `token-{user id}-...`. Under `/control` it is
told what happens; see `Simulator.control`. Answers are of our own writing, after the documented lists of fields.
Standard library only.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

HOST = "127.0.0.1"
ACCOUNTS = tuple(f"AB{number}" for number in range(1001, 1021))
API_KEY, API_SECRET = "local", "local-secret"
INDIA = timezone(timedelta(hours=5, minutes=30))
FAULTS = ("down", "500", "429", "stall", "truncated", "empty", "token", "wrong_account", "partial")
# Longer than any caller waits.
STALL_SECONDS = 5.0
Json = dict[str, Any]


def access_token(account: str) -> str:
    """The token that an account's owner has after logging in here."""
    return f"token-{account}"


def credentials() -> dict[str, dict[str, str]]:
    """Of the accounts that the local cloud knows."""
    return {
        account: {"api_key": API_KEY, "api_secret": API_SECRET, "access_token": access_token(account)}
        for account in ACCOUNTS
    }


def checksum(order_id: str, order_timestamp: str) -> str:
    """The proof that a postback carries."""
    return sha256(f"{order_id}{order_timestamp}{API_SECRET}".encode()).hexdigest()


@dataclass
class Position:
    """Of one exchange, symbol and product; ``carried`` came in from the days before at ``carried_price``."""

    exchange: str
    symbol: str
    product: str
    token: int
    multiplier: float = 1
    carried: int = 0
    carried_price: float = 0
    close_price: float = 0
    last_price: float = 0
    day_buy_quantity: int = 0
    day_buy_value: float = 0
    day_sell_quantity: int = 0
    day_sell_value: float = 0

    def trade(self, quantity: int, price: float) -> None:
        """Signed quantity."""
        value = abs(quantity) * price * self.multiplier
        if quantity > 0:
            self.day_buy_quantity += quantity
            self.day_buy_value += value
        else:
            self.day_sell_quantity -= quantity
            self.day_sell_value += value
        self.last_price = self.last_price or price

    def row(self) -> Json:
        """As the broker writes it, all figures of it made of the others."""
        long, short = max(self.carried, 0), max(-self.carried, 0)
        entry, close = self.carried_price * self.multiplier, self.close_price * self.multiplier
        buy_quantity, sell_quantity = self.day_buy_quantity + long, self.day_sell_quantity + short
        buy_value, sell_value = self.day_buy_value + long * entry, self.day_sell_value + short * entry
        buy_m2m, sell_m2m = self.day_buy_value + long * close, self.day_sell_value + short * close
        quantity = buy_quantity - sell_quantity
        open_value = quantity * self.last_price * self.multiplier
        buy_price = _each(buy_value, buy_quantity * self.multiplier)
        sell_price = _each(sell_value, sell_quantity * self.multiplier)
        return {
            "tradingsymbol": self.symbol,
            "exchange": self.exchange,
            "instrument_token": self.token,
            "product": self.product,
            "quantity": quantity,
            "overnight_quantity": self.carried,
            "multiplier": self.multiplier,
            "average_price": buy_price if quantity > 0 else sell_price if quantity < 0 else 0,
            "close_price": self.close_price,
            "last_price": self.last_price,
            "value": _money(sell_value - buy_value),
            "pnl": _money(sell_value - buy_value + open_value),
            "m2m": _money(sell_m2m - buy_m2m + open_value),
            "unrealised": _money(sell_value - buy_value + open_value),
            "realised": 0,
            "buy_quantity": buy_quantity,
            "buy_price": buy_price,
            "buy_value": _money(buy_value),
            "buy_m2m": _money(buy_m2m),
            "sell_quantity": sell_quantity,
            "sell_price": sell_price,
            "sell_value": _money(sell_value),
            "sell_m2m": _money(sell_m2m),
            "day_buy_quantity": self.day_buy_quantity,
            "day_buy_price": _each(self.day_buy_value, self.day_buy_quantity * self.multiplier),
            "day_buy_value": _money(self.day_buy_value),
            "day_sell_quantity": self.day_sell_quantity,
            "day_sell_price": _each(self.day_sell_value, self.day_sell_quantity * self.multiplier),
            "day_sell_value": _money(self.day_sell_value),
        }


def holding_row(given: Mapping[str, Any]) -> Json:
    """A holding: what is given, and what follows from it."""
    quantity, used = int(given.get("quantity", 0)), int(given.get("used_quantity", 0))
    average, last, close = (float(given.get(name, 0)) for name in ("average_price", "last_price", "close_price"))
    change = last - close
    return {
        "tradingsymbol": given["symbol"],
        "exchange": given.get("exchange", "NSE"),
        "instrument_token": int(given.get("token", 0)),
        "isin": given["isin"],
        "product": "CNC",
        "price": 0,
        "quantity": quantity,
        "used_quantity": used,
        "t1_quantity": int(given.get("t1_quantity", 0)),
        "realised_quantity": quantity,
        "authorised_quantity": 0,
        "authorised_date": _day() + " 00:00:00",
        "authorisation": {},
        "opening_quantity": quantity,
        "short_quantity": 0,
        "collateral_quantity": int(given.get("collateral_quantity", 0)),
        "collateral_type": "",
        "discrepancy": False,
        "average_price": average,
        "last_price": last,
        "close_price": close,
        "pnl": _money((last - average) * quantity),
        "day_change": change,
        "day_change_percentage": change / close * 100 if close else 0,
        "mtf": {"quantity": 0, "used_quantity": 0, "average_price": 0, "value": 0, "initial_margin": 0},
    }


@dataclass
class Account:
    """What an account owns and has done today."""

    positions: dict[tuple[str, str, str], Position] = field(default_factory=dict)
    holdings: list[Json] = field(default_factory=list)
    orders: list[Json] = field(default_factory=list)
    trades: list[Json] = field(default_factory=list)
    cash: float = 0
    fault: str = ""
    fault_path: str = ""
    calls: int = 0


class Simulator:
    """All accounts; every method holds the one lock."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._numbers = int(time.time())
        self._lock = Lock()

    def account(self, name: str) -> Account:
        """Made when it is first named."""
        return self._accounts.setdefault(name, Account())

    def fault_of(self, name: str, path: str) -> str:
        """What is to go wrong with this call."""
        with self._lock:
            account = self.account(name)
            account.calls += 1
            return account.fault if account.fault_path in ("", path) else ""

    def answer(self, name: str, path: str) -> object:
        """The data of an endpoint; ``KeyError`` for one that is not there."""
        with self._lock:
            account = self.account(name)
            made: dict[str, Callable[[], object]] = {
                "/user/profile": lambda: profile(name),
                "/user/margins": lambda: margins(account.cash),
                "/portfolio/positions": lambda: positions(account),
                "/portfolio/holdings": lambda: [holding_row(item) for item in account.holdings],
                "/orders": lambda: list(account.orders),
                "/trades": lambda: list(account.trades),
            }
            return made[path]()

    def control(self, action: str, body: Json) -> Json:
        """What happens: ``fault`` {account, fault, path?}; ``trade`` {account, symbol, side, quantity, price, ...} is
        an order with all its reports, answered with its postback; ``shift`` moves a position behind everybody's back;
        ``holding`` {account, symbol, isin, quantity, ...}; ``cash``; ``price`` {account, symbol, last}; ``reset``."""
        actions: dict[str, Callable[[Account, Json], Json]] = {
            "reset": self._reset,
            "fault": _fault,
            "cash": _cash,
            "price": _price,
            "holding": _holding,
            "shift": self._shift,
            "trade": self._trade,
        }
        with self._lock:
            return actions[action](self.account(body["account"]), body)

    def _reset(self, _account: Account, body: Json) -> Json:
        self._accounts[body["account"]] = Account()
        return {}

    def _shift(self, account: Account, body: Json) -> Json:
        self._position(account, body).trade(int(body["quantity"]), float(body["price"]))
        return {}

    def _position(self, account: Account, body: Json) -> Position:
        key = (body.get("exchange", "NSE"), body["symbol"], body.get("product", "CNC"))
        if key not in account.positions:
            position = Position(*key, int(body.get("token") or 0), float(body.get("multiplier") or 1))
            account.positions[key] = position
        return account.positions[key]

    def _trade(self, account: Account, body: Json) -> Json:
        """One fill of a new order, or of ``order_id``."""
        quantity, price = int(body["quantity"]), float(body["price"])
        sign = 1 if body["side"] == "BUY" else -1
        position = self._position(account, body)
        position.trade(sign * quantity, price)
        account.cash -= sign * quantity * price * position.multiplier
        self._numbers += 1
        now = datetime.now(INDIA).strftime("%Y-%m-%d %H:%M:%S")
        order = next((item for item in account.orders if item["order_id"] == body.get("order_id")), None)
        if order is None:
            order = order_row(body, str(body.get("order_id") or self._numbers), now, position)
            account.orders.append(order)
        filled = order["filled_quantity"] + quantity
        order["average_price"] = (order["average_price"] * order["filled_quantity"] + quantity * price) / filled
        order["filled_quantity"] = filled
        order["pending_quantity"] = max(order["quantity"] - filled, 0)
        order["status"] = "OPEN" if order["pending_quantity"] else "COMPLETE"
        order["exchange_update_timestamp"] = order["exchange_timestamp"] = now
        account.trades.append({
            "trade_id": str(self._numbers),
            "order_id": order["order_id"],
            "exchange": position.exchange,
            "tradingsymbol": position.symbol,
            "instrument_token": position.token,
            "product": position.product,
            "average_price": price,
            "quantity": quantity,
            "exchange_order_id": order["exchange_order_id"],
            "transaction_type": body["side"],
            "fill_timestamp": now,
            "order_timestamp": now.split(" ")[1],
            "exchange_timestamp": now,
        })  # fmt: skip
        return {
            **order,
            "user_id": body["account"],
            "app_id": 1,
            "unfilled_quantity": order["pending_quantity"],
            "checksum": checksum(order["order_id"], order["order_timestamp"]),
        }


def _fault(account: Account, body: Json) -> Json:
    account.fault, account.fault_path = body.get("fault") or "", body.get("path", "")
    if account.fault not in {"", *FAULTS}:
        raise ValueError(account.fault)
    return {"calls": account.calls}


def _cash(account: Account, body: Json) -> Json:
    account.cash = float(body["cash"])
    return {}


def _price(account: Account, body: Json) -> Json:
    for position in account.positions.values():
        if position.symbol == body["symbol"]:
            position.last_price = float(body["last"])
    return {}


def _holding(account: Account, body: Json) -> Json:
    account.holdings = [item for item in account.holdings if item["symbol"] != body["symbol"]]
    account.holdings.append(body)
    return {}


def order_row(body: Json, order_id: str, now: str, position: Position) -> Json:
    """A new order with nothing filled."""
    return {
        "placed_by": body["account"],
        "order_id": order_id,
        "exchange_order_id": f"1{order_id}",
        "parent_order_id": None,
        "status": "OPEN",
        "status_message": None,
        "status_message_raw": None,
        "order_timestamp": now,
        "exchange_update_timestamp": now,
        "exchange_timestamp": now,
        "variety": "regular",
        "modified": False,
        "exchange": position.exchange,
        "tradingsymbol": position.symbol,
        "instrument_token": position.token,
        "order_type": "MARKET",
        "transaction_type": body["side"],
        "validity": "DAY",
        "product": position.product,
        "quantity": int(body.get("order_quantity") or body["quantity"]),
        "disclosed_quantity": 0,
        "price": 0,
        "trigger_price": 0,
        "average_price": 0,
        "filled_quantity": 0,
        "pending_quantity": int(body["quantity"]),
        "cancelled_quantity": 0,
        "market_protection": 0,
        "meta": {},
        "tag": body.get("tag"),
        "guid": f"guid-{order_id}",
    }


def profile(name: str) -> Json:
    """Who the token belongs to."""
    return {
        "user_id": name,
        "user_type": "individual",
        "email": "someone@example.com",
        "user_name": name,
        "user_shortname": name,
        "broker": "ZERODHA",
        "exchanges": ["NSE", "BSE", "NFO", "MCX"],
        "products": ["CNC", "NRML", "MIS"],
        "order_types": ["MARKET", "LIMIT"],
        "avatar_url": None,
        "meta": {"demat_consent": "physical"},
    }


def margins(cash: float) -> Json:
    """One enabled segment that holds all the cash."""
    used = dict.fromkeys(
        ("debits", "exposure", "m2m_realised", "m2m_unrealised", "option_premium", "payout", "span", "holding_sales",
         "turnover", "liquid_collateral", "stock_collateral", "delivery"), 0)  # fmt: skip

    def segment(amount: float, *, enabled: bool) -> Json:
        available = {"adhoc_margin": 0, "cash": amount, "opening_balance": amount, "live_balance": amount,
                     "collateral": 0, "intraday_payin": 0}  # fmt: skip
        return {"enabled": enabled, "net": amount, "available": available, "utilised": used}

    return {"equity": segment(_money(cash), enabled=True), "commodity": segment(0, enabled=False)}


def positions(account: Account) -> Json:
    """``day``: what was traded today alone."""
    rows = [position.row() for position in account.positions.values()]
    return {"net": rows, "day": [row for row in rows if row["day_buy_quantity"] or row["day_sell_quantity"]]}


class KiteServer(ThreadingHTTPServer):
    """A broker with accounts of its own."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        super().__init__((HOST, port), Handler)
        self.simulator = Simulator()


class Handler(BaseHTTPRequestHandler):
    """The HTTP side."""

    protocol_version = "HTTP/1.1"
    server: KiteServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """On standard output, which is a log file here."""
        sys.stdout.write(f"{format % args}\n")

    def do_GET(self) -> None:
        """An endpoint of the broker."""
        if self.path == "/":
            self._send(200, {"status": "success", "data": {}})
            return
        name, path = self._account(), self.path.partition("?")[0]
        if name is None:
            self._error(403, "TokenException", "Incorrect `api_key` or `access_token`.")
            return
        fault = self.server.simulator.fault_of(name, path)
        if fault in {"", "truncated", "partial", "stall"}:
            self._answer(name, path, fault)
        else:
            self._fail(name, path, fault)

    def do_POST(self) -> None:
        """Somebody tells what happens."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        try:
            self._send(200, self.server.simulator.control(self.path.removeprefix("/control/"), body))
        except (KeyError, ValueError) as fault:
            self._send(400, {"error": repr(fault)})

    def _account(self) -> str | None:
        key, _, token = self.headers.get("Authorization", "").removeprefix("token ").partition(":")
        return token.split("-")[1] if key == API_KEY and token.startswith("token-") else None

    def _answer(self, name: str, path: str, fault: str) -> None:
        if fault == "stall":
            time.sleep(STALL_SECONDS)
        try:
            data = self.server.simulator.answer(name, path)
        except KeyError:
            self._error(404, "GeneralException", "Route not found")
            return
        if fault == "partial" and isinstance(data, dict) and "net" in data:
            data = {"net": [{name: row[name] for name in list(row)[:6]} for row in data["net"]]}
        raw = json.dumps({"status": "success", "data": data}).encode()
        self._raw(200, raw[: len(raw) // 2] if fault == "truncated" else raw)

    def _fail(self, name: str, path: str, fault: str) -> None:
        errors = {
            "500": (500, "GeneralException", "Something went wrong"),
            "429": (429, "NetworkException", "Too many requests"),
            "token": (403, "TokenException", "Token is invalid or has expired."),
        }
        if fault == "down":
            self.close_connection = True
        elif fault in errors:
            self._error(*errors[fault])
        elif fault == "empty":
            self._send(200, {"status": "success", "data": profile(name) if path == "/user/profile" else []})
        else:
            self._send(200, {"status": "success", "data": profile("ZZ9999")})

    def _error(self, status: int, kind: str, message: str) -> None:
        self._send(status, {"status": "error", "message": message, "error_type": kind})

    def _send(self, status: int, body: object) -> None:
        self._raw(status, json.dumps(body).encode())

    def _raw(self, status: int, raw: bytes) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # the caller waited long enough
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)


def _each(value: float, quantity: float) -> float:
    return round(value / quantity, 6) if quantity else 0


def _money(value: float) -> float:
    return round(value, 2)


def _day() -> str:
    return datetime.now(INDIA).date().isoformat()


if __name__ == "__main__":
    KiteServer(int(sys.argv[1])).serve_forever()
