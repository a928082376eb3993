"""The search finds what it is for: otherwise a clean log would say nothing."""

from __future__ import annotations

import pytest

from tests.support.log_search import FORGED, SECRETS, forged, secrets

EXAMPLES = {
    "a token": "refused: eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl",
    "a bearer header": "{'Authorization': 'Bearer abcdefghijklmnopqrstuvwxyz'}",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----",
    "a password in an address": "cannot connect to rediss://user:hidden@cache.example.com:6379",
    "the broker's secret": "signed with local-secret",
    "the token of a broker's account": "Authorization token local:token-AB1001",
    "a ticket": '{"ticket": "0a1b2c3d4e5f60718293a4b5c6d7e8f9"}',
    "a header with a proof": '{"headers": {"authorization": "of whatever form"}}',
    "a private key of a set": '{"kty": "EC", "d": "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}',
}


@pytest.mark.parametrize("what", SECRETS)
def test_each_kind_of_secret_is_found(what: str) -> None:
    assert what in dict(secrets(["nothing here", f"/aws/lambda/push  {EXAMPLES[what]}"]))


def test_what_is_no_secret_is_left_alone() -> None:
    assert not list(secrets(["http://127.0.0.1:4566/a?b=c", "live:12345 of alice@example.com", "redis://cache:6379"]))


def test_a_line_of_a_clients_own_is_told_from_one_that_quotes_it() -> None:
    own = ["group  " + FORGED, f'group  {{"level": "{FORGED}"}}']
    quoting = [f'group  {{"level": "ERROR", "message": "no portfolio {FORGED}"}}', f"group  refused: {FORGED}"]
    assert forged([*own, *quoting]) == own
