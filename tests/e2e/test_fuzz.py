"""Made-up requests and messages for the deployed system: a few in the gate, very many with `make fuzz`.

``FUZZ_TIMES`` multiplies how many, ``FUZZ_SEED`` says which; what fails is printed with how to repeat it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliostream.application.protocol import ACTIONS_AT_ONCE, MAX_CLIENT_MESSAGE_BYTES
from foliostream_client.errors import SocketError
from foliostream_client.transport import Socket
from local import environments
from local.issuer import ALL_SCOPES
from tests.e2e.conftest import Cloud, Holder, now_ms, post_price, receive
from tests.support import asyncapi, fuzz, said

# One of the clouds is enough: what differs between the stores is behind what is looked at here.
pytestmark = [
    pytest.mark.parametrize("stack", ["valkey"], indirect=True),
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
    pytest.mark.timeout(60 + 240 * fuzz.TIMES),
]
HERE = Path(__file__).parent
SEED = os.environ.get("FUZZ_SEED", "1")
GENERATED = re.compile(r"([\d,]+) generated")
# Python's own reading of JSON, in the emulator, ends at about a thousand (local/README.md); unit tests go further.
DEPTH_MAX = 500


# --- REST -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def known(stack: Cloud, symbol: str) -> dict[str, str]:
    """Names of what is there, owned by ``fuzz``."""
    rest, name = stack.rest("fuzz", ALL_SCOPES), f"fuzz-{uuid4().hex[:8]}"
    post_price(rest, symbol, 100)
    portfolio = {"portfolio_id": name, "portfolio_name": "Fuzz", "account_type": "paper", "account_kind": "margin"}
    portfolio |= {"leverage": 5, "base_currency": "USD", "cost_basis": "fifo", "initial_cash": 100_000}
    rest.post("/api/v1/portfolios", portfolio)
    buy = {"instrument_id": symbol, "quantity_change": 10, "price": 100, "transaction_type": "BUY"}
    rest.post(f"/api/v1/portfolio/{name}/update", {"portfolio_id": name, "timestamp": now_ms(), "updates": [buy]})
    return {"portfolio_id": name, "symbol": symbol, "user_type": "paper", "order_id": "open-order"}


@pytest.mark.parametrize("names", ["made-up", "known"])
def test_requests_made_up_from_the_description_are_answered_as_it_says(
    stack: Cloud, known: dict[str, str], names: str, tmp_path: Path
) -> None:
    config = tmp_path / "schemathesis.toml"
    parameters = f"parameters = {{ {', '.join(f'{name} = {json.dumps(value)}' for name, value in known.items())} }}\n"
    config.write_text((parameters if names == "known" else "") + (HERE / "schemathesis.toml").read_text())
    url = stack.outputs.rest_url
    asked = ["run", f"{url}/openapi.json", "--url", url, "--seed", SEED, "--max-examples", str(4 * fuzz.TIMES)]
    asked += ["--phases", "fuzzing" if fuzz.TIMES == 1 else "coverage,fuzzing,stateful"]
    asked += ["--continue-on-failure", "--generation-database", "none", "--warnings", "off", "--no-color"]
    env = os.environ | {
        "FOLIOSTREAM_TOKEN": stack.token("fuzz", ALL_SCOPES),
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "FUZZ_SYMBOL": known["symbol"] if names == "known" else "",
        "PYTHONPATH": str(HERE),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    tool = environments.ensure(environments.FUZZ).tool("st")
    done = subprocess.run(
        [str(tool), "--config-file", str(config), *asked], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    generated = GENERATED.search(done.stdout)
    fuzz.TRIED["REST, deployed: requests"] += int(generated.group(1).replace(",", "")) if generated else 0
    assert done.returncode == 0, done.stdout + done.stderr


# --- WebSocket --------------------------------------------------------------------------------------------------------


class Client:
    """Says one thing after the other; a new connection after as many as one may say at once."""

    def __init__(self, stack: Cloud, holder: Holder) -> None:
        self._stack, self._owner = stack, holder.name
        self.portfolio_id = holder.portfolio_id
        self._socket: Socket | None = None
        self._left = 0

    def ask(self, message: str | bytes) -> list[dict[str, Any]]:
        """What is told until the pong to a ping after it, all of it as the AsyncAPI document says. What is wrong with
        a message is told at once; what waits for its turn (``subscribed``) may come after the pong."""
        if self._left < 2 or self._socket is None:
            self.close()
            self._socket = Socket(self._stack.outputs.ws_url, self._stack.token(self._owner))
            self._left = ACTIONS_AT_ONCE
        self._left -= 2
        fuzz.tried("WebSocket, deployed: messages")
        told: list[dict[str, Any]] = []
        ping = uuid4().hex

        def is_pong(answer: dict[str, Any]) -> bool:
            told.append(answer)
            return answer.get("request_id") == ping

        try:
            self._socket.send(message)  # type: ignore[arg-type]
            self._socket.send({"action": "ping", "request_id": ping})
            receive(self._socket, is_pong, f"the pong after {message[:200]!r}")
        except SocketError:
            # The next message has a chance of its own: otherwise nobody could find out which one it was.
            self._left = 0
            raise
        assert [fault for answer in told for fault in asyncapi.faults("tell", answer)] == []
        return told[:-1]

    def close(self) -> None:
        """The connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


@pytest.fixture
def client(stack: Cloud, holder: Callable[[str], Holder]) -> Iterator[Client]:
    found = Client(stack, holder("demo"))
    yield found
    found.close()


REFUSED = {"INVALID_JSON", "UNKNOWN_ACTION", "INVALID_MESSAGE", "MESSAGE_TOO_LARGE"}


def test_messages_made_up_from_the_document_are_answered_as_it_says(client: Client) -> None:
    described = said.valid(client.portfolio_id)

    @fuzz.inputs(60)
    @given(message=st.one_of(described, described.flatmap(lambda one: fuzz.changed([one]))))
    def ask(message: object) -> None:
        text = json.dumps(message)
        codes = {answer.get("code") for answer in client.ask(text)}
        faults = asyncapi.faults("say", message) if isinstance(message, dict) else ["no object"]
        if len(text.encode()) > MAX_CLIENT_MESSAGE_BYTES:
            assert "MESSAGE_TOO_LARGE" in codes
        elif "\\ud" not in text:  # half a character is no text
            assert bool(codes & REFUSED) == bool(faults), (codes, faults)

    ask()


def test_whatever_comes_is_answered_and_the_connection_lives_on(client: Client) -> None:
    samples = [{"action": "subscribe", "portfolio_ids": ["growth"], "channels": ["state"]}, {"action": "ping"}]

    @fuzz.inputs(60)
    @given(message=st.one_of(fuzz.text(samples).filter(_is_sendable), st.binary(max_size=2_000)))
    def ask(message: str | bytes) -> None:
        # Subscribing is told in its turn, everything else at once.
        told = {answer["type"] for answer in client.ask(message)}
        assert told <= {"error", "pong", "subscribed"}
        assert told or asyncapi.faults("say", json.loads(message)) == []

    ask()


def _is_sendable(text: str) -> bool:
    """Text, and not nested beyond what the emulator can read."""
    with suppress(UnicodeEncodeError):
        text.encode()
        return max(text.count("["), text.count("{")) < DEPTH_MAX
    return False
