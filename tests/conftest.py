"""Fixtures of every test; the servers start only for those who ask."""

pytest_plugins = ["tests.support.ministack", "tests.support.valkey", "tests.support.fuzz"]
