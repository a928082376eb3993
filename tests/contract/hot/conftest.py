"""Every test of this folder runs against every hot store."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import redis

from foliostream.ports import Holders, HotStore
from foliostream.wiring import MAX_POOL_CONNECTIONS
from tests.contract.hot import backends
from tests.contract.hot.backends import Backend
from tests.support.ministack import Emulator
from tests.support.valkey import valkey_server

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@pytest.fixture(scope="session")
def single_valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with valkey_server(tmp_path_factory.mktemp("single-valkey"), cluster=False) as url:
        yield url


@pytest.fixture
def empty_url(valkey_url: str) -> str:
    """A cluster without a key."""
    with redis.Redis.from_url(valkey_url, protocol=2) as client:
        client.flushall()
    return valkey_url


@pytest.fixture(scope="session")
def dynamodb(ministack: Emulator) -> Iterator["DynamoDBClient"]:
    client = ministack.dynamodb()
    yield client
    client.close()


@pytest.fixture(scope="session")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(MAX_POOL_CONNECTIONS) as executor:
        yield executor


@pytest.fixture(params=["fake", "valkey-cluster", "valkey-single", "dynamodb"])
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    if request.param == "fake":
        yield backends.fake()
    elif request.param == "dynamodb":
        emulator = request.getfixturevalue("ministack")
        client, executor = request.getfixturevalue("dynamodb"), request.getfixturevalue("pool")
        yield backends.dynamodb(client, emulator.table(), emulator.table(), executor)
    else:
        url = request.getfixturevalue("valkey_url" if request.param == "valkey-cluster" else "single_valkey_url")
        with backends.valkey(url) as opened:
            yield opened


@pytest.fixture
def store(backend: Backend) -> HotStore:
    return backend.store


@pytest.fixture
def holders(backend: Backend) -> Holders:
    return backend.holders
