"""This process as a Lambda container: the real handlers and composition root over a real Valkey.

Three parts are replaced: queues only keep what would be sent, the registry of instruments is in memory (the real one
answers from memory too, for a minute), and AWS has an address where nobody listens, so that nothing can reach it.
"""

import importlib.util
import io
import json
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import redirect_stdout
from types import ModuleType, SimpleNamespace
from typing import Any

from foliostream.domain.coalescing import Bundle, DirtyMessage
from foliostream.domain.instrument import Instrument
from foliostream.domain.keys import stable_hash
from foliostream.ports import SYMBOL_BUCKETS, Delayed
from foliostream.wiring import Wiring, wiring
from local.environments import ROOT
from local.services import aws_environment
from tests.support.environment import ENVIRONMENT

Handler = Callable[[dict[str, Any], object], Any]

NOWHERE = "http://127.0.0.1:9"
SKEW_MS = 50
_QUEUE_NAMES = frozenset({"live", "demo", "paper", "bulk", "refresh", "push"})
CONTEXT = SimpleNamespace(
    function_name="benchmark",
    memory_limit_in_mb=1769,
    invoked_function_arn="arn:aws:lambda:us-east-1:123456789012:function:benchmark",
    aws_request_id="7d1d7b1f-0000-4000-8000-000000000002",
    get_remaining_time_in_millis=lambda: 29_000,
)


def environment(redis_url: str) -> dict[str, str]:
    """What the template gives its functions by default, with Valkey as hot store."""
    return (
        aws_environment(NOWHERE)
        | ENVIRONMENT
        | {
            "POWERTOOLS_SERVICE_NAME": "foliostream",
            "POWERTOOLS_LOG_LEVEL": "WARNING",
            "PORTFOLIO_HOT_STORE": "valkey",
            "PORTFOLIO_REDIS_URL": redis_url,
            "PORTFOLIO_SKEW_MS": str(SKEW_MS),
            "PORTFOLIO_MARKET_PROVIDER": "replay",
        }
    )


class CountingQueues:
    """The port ``Queues``: keeps what was sent, sends nothing."""

    def __init__(self) -> None:
        self.sent: list[Bundle] = []

    def send(self, queue: str, bundles: Sequence[Bundle]) -> None:
        """Keep them; a name no queue has is an error of the caller's."""
        if queue not in _QUEUE_NAMES:
            raise KeyError(queue)
        self.sent += bundles

    def send_later(self, delayed: Sequence[Delayed]) -> None:
        """Kept until ``forget_sent``."""
        self.sent += [item.bundle for item in delayed]

    def dead_letter(self, queue: str, message: DirtyMessage, reason: str) -> None:
        """A benchmark gives nothing up."""
        raise RuntimeError(f"{queue}: {message.keys[:3]}: {reason}")


class Registry:
    """The port ``Instruments`` in memory."""

    def __init__(self) -> None:
        self._known: dict[str, Instrument] = {}

    def get(self, symbols: Collection[str]) -> dict[str, Instrument]:
        """Those registered."""
        return {symbol: self._known[symbol] for symbol in symbols if symbol in self._known}

    def by_token(self, tokens: Collection[str]) -> dict[str, str]:
        """Symbols of those with one of the tokens."""
        known = {instrument.token: symbol for symbol, instrument in self._known.items() if instrument.token}
        return {token: known[token] for token in tokens if token in known}

    def walk(self, bucket: int) -> list[Instrument]:
        """All of a bucket."""
        return [item for symbol, item in self._known.items() if stable_hash(symbol) % SYMBOL_BUCKETS == bucket]

    def put(self, instrument: Instrument) -> None:
        """Register or replace."""
        self._known[instrument.symbol] = instrument


class Container:
    """The handlers of this process, and the parts they share. One a process: the environment is the process's."""

    def __init__(self, redis_url: str) -> None:
        os.environ.update(environment(redis_url))
        wiring.cache_clear()
        self.redis_url = redis_url
        self.queues = CountingQueues()
        self.parts: Wiring = wiring()
        self.parts.queues = self.queues
        self.parts.instruments = Registry()

    def handler(self, name: str) -> Handler:
        """``functions/{name}/app.py``'s."""
        return load_handler(name)

    def forget_sent(self) -> None:
        """Take the promises of what was sent out of the store, as its consumer would."""
        self.parts.marker.forget([bundle.message for bundle in self.queues.sent])
        self.queues.sent.clear()


def sqs_event(bodies: Iterable[str | bytes]) -> dict[str, Any]:
    """Messages as Lambda hands them over, delivered for the first time."""
    return {
        "Records": [
            {
                "messageId": str(number),
                "body": body if isinstance(body, str) else body.decode(),
                "attributes": {"ApproximateReceiveCount": "1"},
            }
            for number, body in enumerate(bodies)
        ]
    }


def sample_event(name: str) -> dict[str, Any]:
    """``events/{name}.json``."""
    loaded: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    return loaded


def load_handler(name: str) -> Handler:
    """The handler of ``functions/{name}/app.py``; it takes its parts from ``foliostream.wiring.wiring``. Its metrics,
    lines on the output that Lambda collects, go nowhere."""
    inner: Handler = _load(name).handler
    nowhere = io.StringIO()

    def handler(event: dict[str, Any], context: object) -> Any:  # noqa: ANN401 (as handlers are)
        with redirect_stdout(nowhere):
            answer = inner(event, context)
        nowhere.seek(0)
        nowhere.truncate()
        return answer

    return handler


def _load(name: str) -> ModuleType:
    path = ROOT / "functions" / name / "app.py"
    spec = importlib.util.spec_from_file_location(f"functions.{name}.app", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
