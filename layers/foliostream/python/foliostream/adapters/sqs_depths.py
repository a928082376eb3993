"""How much waits in the queues, as SQS says."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Final

from foliostream.adapters.aws_errors import our_errors
from foliostream.adapters.dynamodb_batch import each
from foliostream.ports import QueueDepth

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.literals import QueueAttributeFilterType

_WAITING: Final[QueueAttributeFilterType] = "ApproximateNumberOfMessages"
_DELAYED: Final[QueueAttributeFilterType] = "ApproximateNumberOfMessagesDelayed"
_IN_FLIGHT: Final[QueueAttributeFilterType] = "ApproximateNumberOfMessagesNotVisible"


class SqsDepths:
    """Implements ``ports.QueueDepths``: a call a queue, side by side. ``urls`` by the name in the answer."""

    def __init__(self, client: SQSClient, urls: Mapping[str, str], pool: Executor) -> None:
        self._client = client
        self._urls = dict(urls)
        self._pool = pool

    def depths(self) -> dict[str, QueueDepth]:
        """By queue name."""
        return dict(zip(self._urls, each(self._pool, self._depth, list(self._urls.values())), strict=True))

    def _depth(self, url: str) -> QueueDepth:
        with our_errors(f"SQS, GetQueueAttributes of {url}"):
            answer = self._client.get_queue_attributes(QueueUrl=url, AttributeNames=[_WAITING, _DELAYED, _IN_FLIGHT])
        found = {str(name): int(value) for name, value in answer.get("Attributes", {}).items()}
        return QueueDepth(found.get(_WAITING, 0) + found.get(_DELAYED, 0), found.get(_IN_FLIGHT, 0))
