"""Runs inside schemathesis, in its own environment. ``FUZZ_SYMBOL``: an instrument in USD, named in what is right."""

import os
import time

import schemathesis

SYMBOL = os.environ.get("FUZZ_SYMBOL")


@schemathesis.hook
def filter_path_parameters(_context: object, path_parameters: dict[str, object] | None) -> bool:
    """The emulator's own look at a policy ends at the end of a line (local/README.md)."""
    return not any("\n" in str(value) or "\r" in str(value) for value in (path_parameters or {}).values())


@schemathesis.hook
def map_case(_context: object, case: schemathesis.Case) -> schemathesis.Case:
    """What the description allows is about what is there, and now: more than a refusal comes of it."""
    meta = case.meta
    if SYMBOL and meta is not None and meta.generation.mode.is_positive and isinstance(case.body, dict | list):
        case.body = _known(case.body, (case.path_parameters or {}).get("portfolio_id"))
    return case


def _known(part: object, portfolio_id: object) -> object:
    if isinstance(part, list):
        return [_known(inner, portfolio_id) for inner in part]
    if not isinstance(part, dict):
        return part
    known = {"instrument_id": SYMBOL, "symbol": SYMBOL, "portfolio_id": portfolio_id}
    known |= dict.fromkeys(("currency", "fee_currency"), "USD") | {"timestamp": time.time_ns() // 1_000_000}
    return {
        name: known[name] if known.get(name) and _may_be(inner) else _known(inner, portfolio_id)
        for name, inner in part.items()
    }


def _may_be(given: object) -> bool:
    """Cash and what was left out stay."""
    return isinstance(given, str | int) and not str(given).startswith("CASH:")
