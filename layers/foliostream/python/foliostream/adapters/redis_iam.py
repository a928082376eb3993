"""IAM authentication for ElastiCache: the password is a request signed with the function's own role."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Lock
from typing import Any
from urllib.parse import urlencode, urlsplit

from botocore.model import ServiceId
from botocore.session import Session, get_session
from botocore.signers import RequestSigner
from redis.credentials import CredentialProvider

from foliostream.errors import SettingsError

TOKEN_SECONDS = 900
# Well before the 15 minutes end, and seldom enough that reconnecting costs no signature.
RENEW_AFTER_SECONDS = 600


class ElastiCacheToken(CredentialProvider):
    """Gives redis-py user and token whenever it opens a connection.

    ``iam`` is ``user@cache-name``; ``url`` is the store's address: serverless caches have it in their host name.
    ``session`` is where credentials and region come from; ``monotonic`` counts seconds.
    """

    def __init__(
        self, iam: str, url: str, *, session: Session | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._user, _, self._cache = iam.partition("@")
        if not self._user or not self._cache:
            raise SettingsError(f"PORTFOLIO_REDIS_IAM: must be user@cache-name, is {iam!r}")
        self._serverless = ".serverless." in (urlsplit(url).hostname or "")
        self._session = session or get_session()
        self._monotonic = monotonic
        self._lock = Lock()
        self._token = ""
        self._renew_at = 0.0

    def get_credentials(self) -> tuple[str, str]:
        """User and token."""
        with self._lock:
            if not self._token or self._monotonic() >= self._renew_at:
                self._token = self._signed()
                self._renew_at = self._monotonic() + RENEW_AFTER_SECONDS
            return self._user, self._token

    def _signed(self) -> str:
        region = self._session.get_config_variable("region")
        credentials = self._session.get_credentials()
        if not region or credentials is None:
            raise SettingsError("PORTFOLIO_REDIS_IAM: needs AWS credentials and a region")
        emitter = self._session.get_component("event_emitter")
        signer = RequestSigner(ServiceId("elasticache"), region, "elasticache", "v4", credentials, emitter)
        query = {"Action": "connect", "User": self._user}
        if self._serverless:
            query["ResourceType"] = "ServerlessCache"
        request: dict[str, Any] = {
            "method": "GET",
            "url": f"https://{self._cache}/?{urlencode(query)}",
            "body": {},
            "headers": {},
            "context": {},
        }
        signed: str = signer.generate_presigned_url(
            request, operation_name="connect", expires_in=TOKEN_SECONDS, region_name=region
        )
        return signed.removeprefix("https://")
