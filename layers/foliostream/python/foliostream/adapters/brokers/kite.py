"""Zerodha's Kite Connect through its own client.

The credentials of all accounts are one secret of Secrets Manager: JSON with ``api_key``, ``api_secret`` and
``access_token`` of each (64 KB of it: some hundred accounts), which whoever logs in writes anew each day. It is read
before each use and kept for seconds only. No call waits longer than its timeout, none is tried again here: the next
run is soon enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from kiteconnect import KiteConnect
from kiteconnect import exceptions as kite_errors
from msgspec import Struct
from requests import RequestException

from foliostream.adapters.aws_errors import translated
from foliostream.domain import kite
from foliostream.domain.broker import Answer
from foliostream.domain.order_fills import OrderState
from foliostream.errors import FoliostreamError, PermanentError, RetryableError
from foliostream.ports import Turns

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

# Seven requests a run: within a function's half minute also where each takes its time.
TIMEOUT_SECONDS: Final = 3.0
# The broker allows ten requests a second; asked of all invocations together.
CALL_GAP_MS: Final = 100
MAX_WAIT_MS: Final = 2_000
SECRET_SECONDS: Final = 5.0
_THROTTLED: Final = 429
_FORBIDDEN: Final = (401, 403)


class _Secret(Struct):
    api_key: str
    api_secret: str
    access_token: str


class KiteBroker:
    """Implements ``ports.Broker``. ``root``: the broker's address, "" for the client's own."""

    def __init__(self, secrets: SecretsManagerClient, secret_arn: str, root: str, turns: Turns) -> None:
        self._secrets = secrets
        self._secret_arn = secret_arn
        self._root = root
        self._turns = turns
        self._known: tuple[float, dict[str, _Secret]] = (float("-inf"), {})

    def owned(self, account: str) -> Answer:
        """Profile first: an account is never compared with the answer of another one."""
        client = self._client(account)
        self._check_account(client, account)
        positions = self._call(client.positions)
        holdings = self._call(client.holdings)
        return kite.answer(positions, holdings, self._call(client.margins))

    def orders(self, account: str) -> list[OrderState]:
        """Orders before trades, so that a trade may be ahead of its order but never missing."""
        client = self._client(account)
        self._check_account(client, account)
        listed = self._call(client.orders)
        return kite.orders(listed, self._call(client.trades))

    def token_digest(self, account: str) -> str:
        """Short, and nothing can be learned of the token from it."""
        return sha256(self._secret(account).access_token.encode()).hexdigest()[:16]

    def reported(self, account: str, body: str) -> OrderState:
        """Proved by the account's own secret."""
        return kite.postback(body, self._secret(account).api_secret)

    def _client(self, account: str) -> KiteConnect:
        secret = self._secret(account)
        return KiteConnect(
            api_key=secret.api_key,
            access_token=secret.access_token,
            root=self._root or None,
            timeout=TIMEOUT_SECONDS,
        )

    def _check_account(self, client: KiteConnect, account: str) -> None:
        found = kite.account_of(self._call(client.profile))
        if found != account:
            raise PermanentError(f"the token of {account} is that of {found[:40]}", code="WRONG_ACCOUNT")

    def _call(self, method: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever the broker sends
        self._await_turn()
        try:
            return method()
        except kite_errors.KiteException as fault:
            raise _translated(fault) from fault
        except RequestException as fault:
            raise RetryableError(f"the broker does not answer: {type(fault).__name__}", code="BROKER_DOWN") from fault
        except (KeyError, TypeError, AttributeError, ValueError) as fault:  # the client trusts what it is sent
            raise RetryableError(
                f"the broker's answer cannot be used: {fault!r}"[:300], code="BROKER_ANSWER"
            ) from fault

    def _await_turn(self) -> None:
        waited_ms = 0
        while wait_ms := self._turns.take("kite", CALL_GAP_MS):
            waited_ms += wait_ms
            if waited_ms > MAX_WAIT_MS:
                raise RetryableError("too many requests to the broker at once", code="BROKER_THROTTLED")
            time.sleep(wait_ms / 1000)

    def _secret(self, account: str) -> _Secret:
        read_at, secrets = self._known
        if time.monotonic() - read_at >= SECRET_SECONDS:
            secrets = self._read_secrets()
            self._known = (time.monotonic(), secrets)
        if account not in secrets:
            raise PermanentError(f"there are no credentials for {account}", code="NO_CREDENTIALS")
        return secrets[account]

    def _read_secrets(self) -> dict[str, _Secret]:
        if not self._secret_arn:
            return {}
        try:
            found = self._secrets.get_secret_value(SecretId=self._secret_arn)
            return msgspec.json.decode(found["SecretString"], type=dict[str, _Secret])
        except (ClientError, BotoCoreError) as fault:
            raise translated(fault, "GetSecretValue") from fault
        except (KeyError, msgspec.MsgspecError):  # never shown: it may quote the secret
            raise PermanentError(
                "the secret with the credentials is not as it must be", code="NO_CREDENTIALS"
            ) from None


def _translated(fault: kite_errors.KiteException) -> FoliostreamError:
    """By what went wrong; the client's messages may quote whole answers, so they are cut."""
    status = int(fault.code or 0)
    message = f"the broker answers {type(fault).__name__} {status}: {fault}"[:300]
    if isinstance(fault, kite_errors.TokenException) or status in _FORBIDDEN:
        return PermanentError("the access token has expired or was withdrawn", code="TOKEN_EXPIRED")
    if status == _THROTTLED:
        return RetryableError(message, code="BROKER_THROTTLED")
    if isinstance(fault, kite_errors.DataException) and str(fault).startswith(("Couldn't parse", "Unknown Content")):
        return RetryableError(message, code="BROKER_ANSWER")
    return RetryableError(message, code="BROKER_DOWN")
