"""The AWS emulator as a process of its own: real HTTP, real boto3 clients, no account."""

import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import boto3
import pytest
from botocore.client import BaseClient
from botocore.config import Config

from tests.support.servers import HOST, cloud_file, free_port, running

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeDefinitionTypeDef, GlobalSecondaryIndexTypeDef

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


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """One emulator for the whole run; tests make tables of their own."""
    folder, port = tmp_path_factory.mktemp("ministack"), free_port()
    emulator = Emulator(f"http://{HOST}:{port}")
    environment = {
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": emulator.region,
        "AWS_ACCESS_KEY_ID": emulator.access_key_id,
        "AWS_SECRET_ACCESS_KEY": emulator.secret_access_key,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        "LOG_LEVEL": "WARNING",
    }
    with running([str(cloud_file("bin/ministack"))], folder, lambda: _ready(emulator), environment):
        yield emulator


def _ready(emulator: Emulator) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{emulator.endpoint}/_ministack/ready", timeout=2) as response:
            return bool(response.status == 200)
    except (OSError, urllib.error.URLError):
        return False
