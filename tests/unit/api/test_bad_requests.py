"""Bad input: each kind gets its own answer, and nothing else is lost."""

from __future__ import annotations

from base64 import b64encode

import pytest

from foliostream.api.requests import MAX_BODY_BYTES
from foliostream.errors import ConflictError, PermanentError, RetryableError
from tests.unit.api.client import NOW_MS, Client, buy

NESTED = '{"updates": ' + "[" * 100_000 + "]" * 100_000 + "}"
PORTFOLIO = "/api/v1/portfolio/12345"


def last(value: object, symbol: str = "AAPL", **more: object) -> dict[str, object]:
    return {"symbol": symbol, "ts": NOW_MS, "last": value} | more


# --- prices ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "code", "says"),
    [
        (last(1, "NOPE"), "UNKNOWN_SYMBOL", "no instrument NOPE is registered"),
        ({"symbol": "AAPL", "ts": NOW_MS, "bid": 2, "ask": 1}, "CROSSED", "bid 2 is above ask 1"),
        (last(150, ts=NOW_MS - 1), "STALE", "newer price"),
        (last(-1), "INVALID", "last must not be negative, is -1"),
        (last("NaN"), "INVALID", "last must be a finite number"),
        (last("Infinity"), "INVALID", "last must be a finite number"),
        (last("abc"), "INVALID", "decimal"),
        (last("1.1234567"), "INVALID", "at most 6 decimals"),
        (last(1, ts=NOW_MS + 5_001), "INVALID", "ahead"),
        (last(1, ts="2026-02-26T10:30:00"), "INVALID", "offset"),
        (last(1, seq=-1), "INVALID", "seq"),
        ({"symbol": "AAPL", "ts": NOW_MS}, "INVALID", "bid, ask or last"),
        (last(1, "aapl"), "INVALID", "symbol must match"),
        (last(1, "CASH:USD"), "INVALID", "CASH:"),
        ("no object", "INVALID", "object"),
    ],
)
def test_a_bad_price_is_refused_with_its_code_and_the_good_one_beside_it_is_kept(
    client: Client, bad: object, code: str, says: str
) -> None:
    client.prices(last(140))
    answer = client.prices(bad, last(7, "M&M"))
    assert answer.status == 202
    assert answer.body["accepted"] == 1
    [refused] = answer.body["rejected"]
    assert refused["code"] == code
    assert says in refused["message"]
    assert client.parts.hot.get(["M&M"])["M&M"].last == 7
    assert client.parts.hot.get(["AAPL"])["AAPL"].last == 140


def test_two_thousand_updates_in_one_call_are_refused_naming_the_limit(client: Client) -> None:
    answer = client.prices(*[last(1)] * 2_000)
    assert (answer.status, answer.code) == (400, "TOO_MANY_UPDATES")
    assert answer.message == "updates has at most 1000 entries, not 2000"
    assert answer.details == [{"limit": 1000, "value": 2000}]
    assert client.prices(*[last(1)] * 1_000).body["accepted"] == 1_000


def test_prices_need_their_scope(client: Client) -> None:
    answer = client.prices(last(1), scope="instruments:write fills:write")
    assert (answer.status, answer.code, answer.details) == (403, "MISSING_SCOPE", [{"scope": "prices:write"}])
    assert not client.parts.hot.prices


@pytest.mark.parametrize(
    "body", ['{"updates": [', "", None, "[1]", '{"updates": NaN}', '{"updates": {}}', "[" * 100_000, NESTED]
)
def test_prices_that_are_no_such_document_are_refused_whole(client: Client, body: str | None) -> None:
    answer = client.send("POST", "/api/v1/prices", body)
    assert answer.status == 400
    assert answer.code in {"INVALID_JSON", "INVALID"}


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    ["{", "null}", "NaN", '{"a": NaN}', '{"a": Infinity}', "[]", '"text"', "1", "[" * 100_000, "\ud800",
     '{"a": 1e9999999999999999999}', '{"a": ' + "9" * 5_000 + "}"],
)  # fmt: skip
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/v1/portfolios"), ("PUT", "/api/v1/instruments/IBM")])
def test_a_body_that_is_no_json_object_is_invalid_json(client: Client, method: str, path: str, body: str) -> None:
    answer = client.send(method, path, body)
    assert (answer.status, answer.code) == (400, "INVALID_JSON")


def test_malformed_json_is_refused_naming_the_place(client: Client) -> None:
    answer = client.send("POST", "/api/v1/portfolios", '{"portfolio_name": }')
    assert answer.message == "the body is not JSON: Expecting value at line 1 column 20"


def test_a_missing_body_is_invalid(client: Client) -> None:
    for body in (None, ""):
        answer = client.send("POST", "/api/v1/portfolios", body)
        assert (answer.status, answer.code, answer.details[0]["field"]) == (400, "INVALID", "body")


def test_a_body_is_json_whatever_its_content_type_claims(client: Client) -> None:
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data", "Application/JSON"):
        answer = client.send("PUT", "/api/v1/instruments/IBM", {"kind": "stock", "currency": "USD"},
                             headers={"content-type": content_type})  # fmt: skip
        assert answer.status == 200


def test_a_base64_body_is_read_and_a_broken_one_is_no_json(client: Client) -> None:
    good = b64encode(b'{"kind": "stock", "currency": "USD"}').decode()
    assert client.send("PUT", "/api/v1/instruments/IBM", good, isBase64Encoded=True).status == 200
    for body in ("not base64!", b64encode(b"\xff\xfe").decode()):
        answer = client.send("PUT", "/api/v1/instruments/IBM", body, isBase64Encoded=True)
        assert (answer.status, answer.code) == (400, "INVALID_JSON")


@pytest.mark.parametrize("path", ["/api/v1/prices", "/api/v1/portfolios", PORTFOLIO + "/update"])
def test_a_body_over_the_limit_is_too_large(client: Client, path: str) -> None:
    answer = client.send("POST", path, '{"a": "' + "ä" * (MAX_BODY_BYTES // 2) + '"}')
    assert (answer.status, answer.code) == (413, "PAYLOAD_TOO_LARGE")
    assert "262144" in answer.message


def test_an_unknown_field_is_refused_by_its_name(client: Client) -> None:
    answer = client.create(initial_cahs=5)
    assert (answer.status, answer.code, answer.details[0]["field"]) == (400, "INVALID", "initial_cahs")


def test_text_that_cannot_be_stored_is_refused(client: Client) -> None:
    body = '{"portfolio_id":"1","portfolio_name":"\\ud800","account_type":"live","account_kind":"cash",' \
           '"base_currency":"USD","cost_basis":"average"}'  # fmt: skip
    assert client.send("POST", "/api/v1/portfolios", body).code == "INVALID"
    for name in ("", "  ", "a\nb", "x" * 201):
        answer = client.create(portfolio_name=name)
        assert (answer.status, answer.details[0]["field"]) == (400, "portfolio_name")


# --- routes and callers ---------------------------------------------------------------------------------------------


def test_an_unknown_path_is_not_found(client: Client) -> None:
    for path in ("/", "/api/v1", "/api/v1/portfolio", "/api/v1/portfolio//state", "/API/v1/portfolios"):
        answer = client.send("GET", path)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")


def test_another_method_on_a_known_path_says_which_it_has(client: Client) -> None:
    answer = client.send("DELETE", "/api/v1/portfolios")
    assert (answer.status, answer.code, answer.headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, POST")
    assert client.send("PUT", PORTFOLIO + "/state").headers["Allow"] == "GET"
    assert client.send("GET", PORTFOLIO).headers["Allow"] == "PATCH"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", PORTFOLIO + "/state", None),
        ("GET", PORTFOLIO + "/positions", None),
        ("POST", PORTFOLIO + "/refresh", None),
        ("GET", PORTFOLIO + "/transactions", None),
        ("GET", PORTFOLIO + "/history", None),
        ("PATCH", PORTFOLIO, {"status": "SUSPENDED"}),
        ("POST", PORTFOLIO + "/update", {"portfolio_id": "12345", "timestamp": NOW_MS, "updates": [buy(1, 1)]}),
    ],
)
def test_somebody_elses_portfolio_is_answered_like_one_that_does_not_exist(
    client: Client, method: str, path: str, body: object
) -> None:
    unknown = client.send(method, path, body)
    client.create(sub="bob")
    foreign = client.send(method, path, body)
    assert (unknown.status, unknown.code) == (404, "PORTFOLIO_NOT_FOUND")
    assert foreign == unknown
    assert not client.parts.queues.receive("refresh")


def test_without_a_verified_caller_nothing_but_the_open_calls_is_answered(client: Client) -> None:
    for method, path in [
        ("GET", "/api/v1/portfolios"),
        ("GET", PORTFOLIO + "/state"),
        ("GET", "/api/v1/instruments/AAPL"),
        ("POST", PORTFOLIO + "/refresh"),
        ("GET", PORTFOLIO + "/transactions"),
        ("GET", PORTFOLIO + "/history"),
        ("POST", "/api/v1/prices"),
    ]:
        answer = client.send(method, path, sub=None)
        assert (answer.status, answer.code) == (401, "UNAUTHORIZED")
    assert client.send("GET", "/health", sub=None).status == 200
    assert client.send("GET", "/openapi.json", sub=None).status == 200


def test_registering_an_instrument_needs_its_scope(client: Client) -> None:
    body = {"kind": "stock", "currency": "USD"}
    answer = client.send("PUT", "/api/v1/instruments/IBM", body, scope="prices:write")
    assert (answer.status, answer.code) == (403, "MISSING_SCOPE")


def test_an_id_outside_the_allowed_form_is_refused(client: Client) -> None:
    assert client.send("GET", "/api/v1/portfolio/a%20b/state").code == "INVALID"
    assert client.create(portfolio_id="a/b").code == "INVALID"
    assert client.create(portfolio_id="x" * 65).code == "INVALID"


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_failing_store_is_503_worth_another_try_and_tells_nothing_of_itself(client: Client) -> None:
    client.create()

    def fails(_: object) -> None:
        raise RetryableError("DynamoDB, reading: arn:aws:dynamodb:eu-west-1:123456789012:table/secret")

    client.parts.hot.read = fails  # type: ignore[method-assign, assignment]
    answer = client.send("GET", PORTFOLIO + "/state")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "UNAVAILABLE", "1")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    "fault", [ZeroDivisionError("secret"), PermanentError("secret"), UnicodeDecodeError("utf-8", b"secret", 0, 1, "x")]
)
def test_anything_unexpected_is_500_without_internals_and_logged_with_the_call(
    client: Client, fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(_: object) -> None:
        raise fault

    client.parts.hot.read = fails  # type: ignore[method-assign, assignment]
    answer = client.send("GET", PORTFOLIO + "/state")
    assert (answer.status, answer.code) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert answer.body["error"]["request_id"] == "5b1c6f0e-0c6b-4a53-9e53-1f1b8f1f6a01"
    [record] = [item for item in caplog.records if item.name == "foliostream.api.answers"]
    assert record.exc_info is not None
    assert record.exc_info[1] is fault
    assert vars(record)["request_id"] == "5b1c6f0e-0c6b-4a53-9e53-1f1b8f1f6a01"


def test_an_adapters_own_conflict_is_not_quoted(client: Client) -> None:
    def fails(_: object) -> None:
        raise ConflictError("ConditionalCheckFailedException on secret")

    client.parts.hot.read = fails  # type: ignore[method-assign, assignment]
    answer = client.send("GET", PORTFOLIO + "/state")
    assert (answer.status, answer.code) == (409, "CONFLICT")
    assert "secret" not in answer.text


def test_every_error_has_the_one_shape(client: Client) -> None:
    for answer in (
        client.send("GET", "/nope"),
        client.send("POST", "/api/v1/portfolios", "{"),
        client.update(buy(1, 1)),
    ):
        assert list(answer.body) == ["error"]
        assert list(answer.body["error"]) == ["code", "message", "request_id", "details"]


def test_a_page_of_an_allowed_origin_may_read_answers_and_errors() -> None:
    client = Client(cors_origin="https://app.example.com")
    for path in ("/health", "/nope"):
        headers = client.send("GET", path, headers={"Origin": "https://app.example.com"}).headers
        assert headers["Access-Control-Allow-Origin"] == "https://app.example.com"
        assert (
            "Access-Control-Allow-Origin" not in client.send("GET", path, headers={"Origin": "https://x.test"}).headers
        )
