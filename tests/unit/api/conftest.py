"""A fresh API for every test."""

from __future__ import annotations

import pytest

from tests.unit.api.client import Client


@pytest.fixture
def client() -> Client:
    return Client()
