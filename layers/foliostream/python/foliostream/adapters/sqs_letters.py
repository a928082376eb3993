"""Dead letters on SQS: looked at, sent back, deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from foliostream.adapters.aws_errors import our_errors
from foliostream.adapters.dynamodb_batch import chunks
from foliostream.adapters.sqs_queues import ENTRIES_MAX
from foliostream.errors import PermanentError
from foliostream.ports import Letter

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# Without a wait SQS asks only some of its servers, and "none" would not mean none.
WAIT_SECONDS: Final = 1


class SqsLetters:
    """Implements ``ports.Letters``. ``urls`` of the dead letters and ``sources``, where they came from, by name."""

    def __init__(self, client: SQSClient, urls: Mapping[str, str], sources: Mapping[str, str]) -> None:
        self._client = client
        self._urls = dict(urls)
        self._sources = dict(sources)

    def names(self) -> list[str]:
        """In alphabetical order."""
        return sorted(self._urls)

    def hold(self, name: str, seconds: int) -> list[Letter]:
        """One ReceiveMessage."""
        url = self._urls[name]
        with our_errors(f"SQS, ReceiveMessage from {url}"):
            answer = self._client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=ENTRIES_MAX,
                VisibilityTimeout=seconds,
                WaitTimeSeconds=WAIT_SECONDS,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        return [_letter(message) for message in answer.get("Messages", [])]

    def release(self, name: str, letters: Sequence[Letter]) -> None:
        """Visible at once. One that fails becomes visible by itself when its time is over."""
        url = self._urls[name]
        for part in chunks(letters, ENTRIES_MAX):
            entries: Any = [
                {"Id": str(number), "ReceiptHandle": letter.handle, "VisibilityTimeout": 0}
                for number, letter in enumerate(part)
            ]
            with our_errors(f"SQS, ChangeMessageVisibilityBatch of {url}"):
                self._client.change_message_visibility_batch(QueueUrl=url, Entries=entries)

    def delete(self, name: str, letter: Letter) -> None:
        """One DeleteMessage."""
        url = self._urls[name]
        with our_errors(f"SQS, DeleteMessage from {url}"):
            self._client.delete_message(QueueUrl=url, ReceiptHandle=letter.handle)

    def send_back(self, name: str, letter: Letter, nonce: str) -> None:
        """Without what was said about it when it was given up."""
        if name not in self._sources:
            raise PermanentError(f"letters of {name} came from no queue")
        url = self._sources[name]
        ids: dict[str, Any] = {}
        if url.endswith(".fifo"):
            ids = {"MessageGroupId": letter.group, "MessageDeduplicationId": nonce}
        with our_errors(f"SQS, SendMessage to {url}"):
            self._client.send_message(QueueUrl=url, MessageBody=letter.body, **ids)


def _letter(message: MessageTypeDef) -> Letter:
    system = {str(name): value for name, value in message.get("Attributes", {}).items()}
    said = {name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()}
    return Letter(
        letter_id=message["MessageId"],
        body=message["Body"],
        attributes=said,
        receives=int(system.get("ApproximateReceiveCount", 0)),
        sent_at_ms=int(system.get("SentTimestamp", 0)),
        first_received_at_ms=int(system.get("ApproximateFirstReceiveTimestamp") or 0),
        group=system.get("MessageGroupId", ""),
        handle=message["ReceiptHandle"],
    )
