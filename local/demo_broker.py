"""The demo's live account at a broker: it drifts, the reconciliation reports it, and puts it right when told to."""

import json
import urllib.request
from collections.abc import Iterator

from foliostream_client.transport import Json, Rest
from local.processes import poll

# From the ledger by its stream into the state.
CONFIRMED_S = 20.0
ACCOUNT, PORTFOLIO = "AB1001", "sample-broker"
SYMBOL, PRICE, CASH, DRIFT = "TCS", 3_500, 1_000_000, 3


class DriftError(RuntimeError):
    """The reconciliation did not do what it should have done."""


def drift(rest: Rest, kite_root: str) -> Iterator[str]:
    """Lines about what happens; ``DriftError`` where it is not what should. Can be repeated: each time shares come
    into the account that nobody traded here."""
    rest.put(f"/api/v1/instruments/{SYMBOL}", {"kind": "stock", "currency": "INR"})
    rest.post("/api/v1/portfolios", _opening())
    held = _held(_state(rest))
    _own(kite_root, held)
    report = _reconcile(rest)
    if report["status"] != "ok":
        raise DriftError(f"books and broker should agree: {report}")
    yield f"reconciling {PORTFOLIO}: a simulated broker confirms {held} {SYMBOL}"

    _tell(kite_root, "shift", symbol=SYMBOL, quantity=DRIFT, price=PRICE)
    _tell(kite_root, "cash", cash=CASH - (held + DRIFT) * PRICE)
    report = _reconcile(rest)
    found = next((item for item in report["discrepancies"] if item["symbol"] == SYMBOL), None)
    if report["status"] != "discrepancies" or found is None:
        raise DriftError(f"the drift should be reported: {report}")
    difference = f"it now has {found['actual']} {SYMBOL}, the books {found['expected']}"
    yield f"reconciling {PORTFOLIO}: {difference}: reported as {found['kind']}"

    report = _reconcile(rest, apply=True)
    state = _confirmed(rest, held + DRIFT)
    after = _held(state)
    if report["status"] != "ok" or after != held + DRIFT or state["unreconciled_since"] is not None:
        raise DriftError(f"the books should be put right: {report}")
    booked = f"{len(report['applied'])} ADJUSTMENT booked on demand"
    yield f"reconciling {PORTFOLIO}: {booked}, the books have {after} {SYMBOL} too"


def _confirmed(rest: Rest, quantity: int) -> Json:
    """The state once it shows the booking and that the broker confirmed it, or as it is after some seconds. One without
    the other may be the state of before."""
    found: list[Json] = []

    def is_confirmed() -> bool:
        found.append(_state(rest))
        return _held(found[-1]) == quantity and found[-1]["unreconciled_since"] is None

    poll(is_confirmed, CONFIRMED_S, interval_s=0.2)
    return found[-1]


def _held(state: Json) -> int:
    return sum(int(item["quantity"]) for item in state["positions"] if item["instrument_id"] == SYMBOL)


def _opening() -> Json:
    return {
        "portfolio_id": PORTFOLIO,
        "portfolio_name": "At a simulated broker",
        "account_type": "live",
        "account_kind": "cash",
        "base_currency": "INR",
        "cost_basis": "average",
        "initial_cash": CASH,
        "broker": {"name": "zerodha", "account": ACCOUNT},
    }


def _own(kite_root: str, quantity: int) -> None:
    _tell(kite_root, "reset")
    if quantity:
        _tell(kite_root, "shift", symbol=SYMBOL, quantity=quantity, price=PRICE)
    _tell(kite_root, "cash", cash=CASH - quantity * PRICE)


def _state(rest: Rest) -> Json:
    return rest.get(f"/api/v1/portfolio/{PORTFOLIO}/state")


def _reconcile(rest: Rest, **body: bool) -> Json:
    return rest.post(f"/api/v1/portfolio/{PORTFOLIO}/reconcile", body)


def _tell(kite_root: str, action: str, **body: object) -> None:
    """Have it happen at the broker."""
    data = json.dumps({"account": ACCOUNT} | body).encode()
    request = urllib.request.Request(f"{kite_root}/control/{action}", data, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        answer.read()
