import pytest

from local.environments import ROOT
from local.settings import DEFAULT_PORT, SettingsError, from_environment


def test_an_empty_environment_gives_the_default_cloud_on_a_port_that_may_change() -> None:
    settings = from_environment({"PATH": "/bin"})
    assert settings.home == ROOT / ".local"
    assert (settings.port, settings.port_is_fixed) == (DEFAULT_PORT, False)
    assert settings.portfolio == {}


def test_a_named_port_is_kept_to_and_only_portfolio_variables_are_handed_on() -> None:
    settings = from_environment(
        {"FOLIOSTREAM_PORT": "4600", "FOLIOSTREAM_HOME": ".local/other", "PORTFOLIO_SHARDS": "8", "OTHER": "x"}
    )
    assert (settings.port, settings.port_is_fixed) == (4600, True)
    assert settings.home == ROOT / ".local" / "other"
    assert settings.portfolio == {"PORTFOLIO_SHARDS": "8"}


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(SettingsError, match="FOLIOSTREAM_PORT"):
        from_environment({"FOLIOSTREAM_PORT": port})


def test_settings_of_the_bridge_are_none_of_the_cloud() -> None:
    variables = {"PORTFOLIO_BRIDGE_CHANNEL": "ticks", "PORTFOLIO_SHARDS": "8"}
    assert from_environment(variables).portfolio == {"PORTFOLIO_SHARDS": "8"}
