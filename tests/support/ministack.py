"""The AWS emulator as a process of its own: real HTTP, real boto3 clients, no account."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config

from local.services import HOST, emulator_answers, emulator_command, emulator_environment, free_port
from tests.support.servers import running

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeDefinitionTypeDef, GlobalSecondaryIndexTypeDef
    from mypy_boto3_sqs import SQSClient

_INDEXED: "list[AttributeDefinitionTypeDef]" = [
    {"AttributeName": "listing", "AttributeType": "S"},
    {"AttributeName": "sequence", "AttributeType": "N"},
]


@dataclass(frozen=True)
class Emulator:
    """Where it answers, and as whom."""

    endpoint: str
    access_key_id: str = "test"
    secret_access_key: str = "test"
    region: str = "eu-west-1"

    def client(self, service: str, *, connections: int = 16) -> BaseClient:
        """A boto3 client of it (cast it: the stubs have a type a service)."""
        session = boto3.session.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            region_name=self.region,
        )
        config = Config(
            max_pool_connections=connections,
            connect_timeout=2,
            read_timeout=10,
            retries={"mode": "standard", "max_attempts": 3},
            proxies={},
        )
        client: BaseClient = session.client(service, endpoint_url=self.endpoint, config=config)  # type: ignore[call-overload]
        return client

    def dynamodb(self) -> "DynamoDBClient":
        """A client of DynamoDB."""
        return cast("DynamoDBClient", self.client("dynamodb"))

    def ledger_table(self) -> str:
        """A new table with the ledger's index; its name."""
        return self.table(
            {
                "IndexName": "by_sequence",
                "KeySchema": [
                    {"AttributeName": "listing", "KeyType": "HASH"},
                    {"AttributeName": "sequence", "KeyType": "RANGE"},
                ],
                "Projection": {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["record"]},
            }
        )

    def table(self, *indexes: "GlobalSecondaryIndexTypeDef") -> str:
        """A new table with the string keys pk and sk, as all of ours have; its name."""
        name = f"test-{uuid.uuid4()}"
        client = self.dynamodb()
        client.create_table(
            TableName=name,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "S"},
                {"AttributeName": "sk", "AttributeType": "S"},
                *(_INDEXED if indexes else ()),
            ],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        )
        client.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 10})
        return name


def take_all(client: "SQSClient", url: str) -> list[Any]:
    """Every message of a queue, received and deleted as by a consumer that takes ten at a time."""
    taken: list[Any] = []
    while messages := client.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"]
    ).get("Messages"):
        taken += messages
        for message in messages:
            client.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return taken


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for the whole run; tests make tables of their own."""
    folder, port = tmp_path_factory.mktemp("ministack"), free_port()
    emulator = Emulator(f"http://{HOST}:{port}")
    environment = emulator_environment(port, emulator.region, folder, folder, "WARNING")
    command = emulator_command()
    with running(command, folder, lambda: emulator_answers(emulator.endpoint), environment):
        yield emulator
