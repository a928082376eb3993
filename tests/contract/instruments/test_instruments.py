"""The registry of instruments: on the fake and on DynamoDB; the cache of a container only on DynamoDB."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliostream.adapters import dynamodb_instruments
from foliostream.adapters.dynamodb_instruments import DynamoDbInstruments
from foliostream.domain.instrument import Instrument, MarginTier, Split, Swap
from foliostream.ports import SYMBOL_BUCKETS, Instruments
from tests.fakes.clock import FakeClock
from tests.fakes.instruments import FakeInstruments
from tests.support.ministack import Emulator

APPLE = Instrument("AAPL", "stock", "USD")
EURO = Instrument(
    "EURUSD",
    "forex",
    "USD",
    base_currency="EUR",
    contract_size=Decimal("100000.00"),
    price_decimals=5,
    allow_zero=True,
    max_age_seconds=3,
    isin="EU0009652759",
    margin_tiers=(MarginTier(Decimal("0.00"), Decimal("0.005")), MarginTier(Decimal(500_000), Decimal("0.0333333"))),
    lot_step=Decimal("0.010"),
    hours="Sun 17:00-Fri 17:00 America/New_York",
    swap=Swap(Decimal("-7.20"), Decimal("2.1"), "points", "Wed"),
)


@pytest.fixture(params=["fake", "dynamodb"])
def instruments(request: pytest.FixtureRequest) -> Instruments:
    if request.param == "fake":
        return FakeInstruments()
    emulator: Emulator = request.getfixturevalue("ministack")
    return DynamoDbInstruments(emulator.dynamodb(), emulator.ledger_table(), FakeClock())


def test_what_was_put_is_found_with_every_field_and_digit(instruments: Instruments) -> None:
    instruments.put(APPLE)
    instruments.put(EURO)
    found = instruments.get(["AAPL", "EURUSD", "UNKNOWN"])
    assert found == {"AAPL": APPLE, "EURUSD": EURO}
    assert str(found["EURUSD"].contract_size) == "100000.00"
    assert str(found["EURUSD"].swap and found["EURUSD"].swap.long) == "-7.20"
    assert str(found["EURUSD"].lot_step) == "0.010"


def test_a_margin_rate_is_found_as_it_was_put(instruments: Instruments) -> None:
    rated = Instrument("IBM", "stock", "USD", margin_rate=Decimal("0.20"))
    instruments.put(rated)
    assert instruments.get(["IBM"]) == {"IBM": rated}


def test_a_symbol_that_was_unknown_is_found_once_it_is_put(instruments: Instruments) -> None:
    assert instruments.get(["AAPL"]) == {}
    instruments.put(APPLE)
    assert instruments.get(["AAPL"]) == {"AAPL": APPLE}


def test_putting_again_replaces_at_once(instruments: Instruments) -> None:
    instruments.put(APPLE)
    assert instruments.get(["AAPL"])["AAPL"].max_age_seconds is None
    stricter = Instrument("AAPL", "stock", "USD", max_age_seconds=5)
    instruments.put(stricter)
    assert instruments.get(["AAPL"]) == {"AAPL": stricter}


def test_a_thousand_symbols_are_found_in_one_call_and_none_in_none(instruments: Instruments) -> None:
    known = {f"S{number}": Instrument(f"S{number}", "stock", "USD") for number in range(250)}
    for instrument in known.values():
        instruments.put(instrument)
    assert instruments.get([*known, *(f"UNKNOWN{number}" for number in range(750))]) == known
    assert instruments.get([]) == {}


def walked(instruments: Instruments) -> list[Instrument]:
    return [instrument for bucket in range(SYMBOL_BUCKETS) for instrument in instruments.walk(bucket)]


def test_a_walk_over_the_buckets_gives_every_instrument_once_as_it_is_now(instruments: Instruments) -> None:
    assert walked(instruments) == []
    known = {f"S{number}": Instrument(f"S{number}", "stock", "USD") for number in range(200)}
    for instrument in (*known.values(), EURO):
        instruments.put(instrument)
    known |= {"S7": Instrument("S7", "stock", "USD", max_age_seconds=5), "EURUSD": EURO}
    instruments.put(known["S7"])
    assert {instrument.symbol: instrument for instrument in walked(instruments)} == known
    assert len(walked(instruments)) == 201


class Container:
    """A registry as another container sees it: its own cache on the same table."""

    def __init__(self, emulator: Emulator, table: str) -> None:
        self.clock = FakeClock()
        self.instruments = DynamoDbInstruments(emulator.dynamodb(), table, self.clock)

    def age_limit(self) -> int | None:
        return self.instruments.get(["AAPL"])["AAPL"].max_age_seconds


@pytest.fixture
def containers(ministack: Emulator) -> tuple[Container, Container]:
    table = ministack.table()
    return Container(ministack, table), Container(ministack, table)


def test_another_container_sees_a_change_after_a_minute_and_not_before(
    containers: tuple[Container, Container],
) -> None:
    writer, reader = containers
    writer.instruments.put(APPLE)
    assert reader.age_limit() is None
    writer.instruments.put(Instrument("AAPL", "stock", "USD", max_age_seconds=5))
    assert writer.age_limit() == 5
    reader.clock.advance(59_999)
    assert reader.age_limit() is None
    reader.clock.advance(1)
    assert reader.age_limit() == 5


def test_a_symbol_another_container_registers_is_known_at_once(containers: tuple[Container, Container]) -> None:
    writer, reader = containers
    assert reader.instruments.get(["AAPL"]) == {}
    writer.instruments.put(APPLE)
    assert reader.instruments.get(["AAPL"]) == {"AAPL": APPLE}


def test_a_clock_set_back_does_not_keep_an_old_instrument(containers: tuple[Container, Container]) -> None:
    writer, reader = containers
    writer.instruments.put(APPLE)
    assert reader.age_limit() is None
    writer.instruments.put(Instrument("AAPL", "stock", "USD", max_age_seconds=5))
    reader.clock.advance(-1)
    assert reader.age_limit() == 5


def test_the_cache_forgets_what_was_read_longest_ago(
    containers: tuple[Container, Container], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamodb_instruments, "CACHE_SIZE_MAX", 2)
    writer, reader = containers
    for symbol in ("AAPL", "MSFT", "KO"):
        writer.instruments.put(Instrument(symbol, "stock", "USD"))
        reader.instruments.get([symbol])
    for symbol in ("AAPL", "MSFT", "KO"):
        writer.instruments.put(Instrument(symbol, "stock", "EUR"))
    found = reader.instruments.get(["AAPL", "MSFT", "KO"])
    assert {symbol: found[symbol].currency for symbol in found} == {"AAPL": "EUR", "MSFT": "USD", "KO": "USD"}


@given(
    st.builds(
        Instrument,
        symbol=st.from_regex(r"[A-Z0-9][A-Z0-9_.:&-]{0,31}", fullmatch=True),
        kind=st.sampled_from(["stock", "forex", "cfd"]),
        currency=st.from_regex(r"[A-Z]{3}", fullmatch=True),
        contract_size=st.none() | st.decimals(allow_nan=False, allow_infinity=False),
        price_decimals=st.none() | st.integers(0, 10),
        allow_zero=st.booleans(),
        splits=st.lists(
            st.builds(
                Split,
                effective_ms=st.integers(0, 2**53),
                new=st.decimals(allow_nan=False, allow_infinity=False),
                old=st.decimals(allow_nan=False, allow_infinity=False),
            ),
            max_size=3,
        ).map(tuple),
    )
)
def test_encoding_an_instrument_loses_nothing(instrument: Instrument) -> None:
    found = dynamodb_instruments.decode(dynamodb_instruments.encode(instrument))
    assert found == instrument
    assert str(found) == str(instrument)


def test_an_instrument_is_found_by_the_brokers_token_as_long_as_it_has_it(instruments: Instruments) -> None:
    instruments.put(Instrument("INFY", "stock", "INR", token="408065"))
    instruments.put(APPLE)
    assert instruments.by_token(["408065", "1"]) == {"408065": "INFY"}
    instruments.put(Instrument("INFY", "stock", "INR", token="500209"))
    assert instruments.by_token(["408065", "500209"]) == {"500209": "INFY"}
    instruments.put(Instrument("INFY", "stock", "INR"))
    assert instruments.by_token(["408065", "500209"]) == {}


def test_of_two_instruments_with_a_token_the_later_has_it(instruments: Instruments) -> None:
    instruments.put(Instrument("OLD", "stock", "INR", token="7"))
    instruments.put(Instrument("NEW", "stock", "INR", token="7"))
    assert instruments.by_token(["7"]) == {"7": "NEW"}


def test_a_field_of_the_next_release_is_left_out_on_reading() -> None:
    written = dynamodb_instruments.encode(APPLE).removesuffix("}") + ',"halted":true}'
    assert dynamodb_instruments.decode(written) == APPLE
