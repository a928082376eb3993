"""The shard count is fixed by the first process that uses the store."""

import pytest

from foliostream.errors import SettingsError
from foliostream.ports import HotStore
from tests.contract.hot.backends import SHARDS, Backend
from tests.contract.hot.test_dirty_records import bundles_of

# A store in memory has one process.
pytestmark = pytest.mark.parametrize("backend", ["valkey-cluster", "valkey-single", "dynamodb"], indirect=True)


def reopened(backend: Backend, shards: int) -> HotStore:
    assert backend.reopened is not None
    return backend.reopened(shards)


def test_a_process_with_the_same_count_works(backend: Backend) -> None:
    backend.store.load(["12345"])
    assert set(reopened(backend, SHARDS).load(["12345"])) == {"12345"}


def test_a_process_with_another_count_is_told_both(backend: Backend) -> None:
    backend.store.load(["12345"])
    other = reopened(backend, 32)
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"64 shards.* 32"):
            other.load(["12345"])
    with pytest.raises(SettingsError, match="PORTFOLIO_SHARDS"):
        other.record("live", bundles_of(1))
