from pathlib import Path

import pytest

from local.parameters import parameter_name, template_defaults, translate, variable_name
from local.settings import SettingsError

KNOWN = {
    "SessionTtlSeconds",
    "RedisUrl",
    "JwksUrl",
    "HotStore",
    "EventBusName",
    "LiveWindowMs",
    "DemoWindowMs",
    "PaperWindowMs",
}


@pytest.mark.parametrize(
    ("variable", "parameter"),
    [
        ("PORTFOLIO_SESSION_TTL_SECONDS", "SessionTtlSeconds"),
        ("PORTFOLIO_REDIS_URL", "RedisUrl"),
        ("PORTFOLIO_JWKS_URL", "JwksUrl"),
        ("PORTFOLIO_SHARDS", "Shards"),
        ("PORTFOLIO_EVENT_BUS", "EventBusName"),
    ],
)
def test_a_variable_names_its_parameter_and_back(variable: str, parameter: str) -> None:
    assert parameter_name(variable) == parameter
    assert variable_name(parameter) == variable


def test_values_reach_their_parameters_unchanged() -> None:
    variables = {"PORTFOLIO_HOT_STORE": "dynamodb", "PORTFOLIO_REDIS_URL": 'redis://:a "b" c=d@127.0.0.1:6379'}
    assert translate(variables, KNOWN) == {"HotStore": "dynamodb", "RedisUrl": 'redis://:a "b" c=d@127.0.0.1:6379'}


def test_windows_are_split_by_account_type() -> None:
    assert translate({"PORTFOLIO_WINDOW_MS": "live=200, paper=3000"}, KNOWN) == {
        "LiveWindowMs": "200",
        "PaperWindowMs": "3000",
    }


@pytest.mark.parametrize("value", ["200", "live=200,", "live", "live=", "vip=200", ""])
def test_windows_in_another_form_are_refused_with_the_form_that_is_expected(value: str) -> None:
    with pytest.raises(SettingsError, match=r"PORTFOLIO_WINDOW_MS=.*live=MS,demo=MS,paper=MS"):
        translate({"PORTFOLIO_WINDOW_MS": value}, KNOWN)


def test_every_unknown_variable_is_named_with_a_near_one() -> None:
    variables = {"PORTFOLIO_SESSION_TTL": "1", "PORTFOLIO_ZZZ": "2", "PORTFOLIO_HOT_STORE": "valkey"}
    with pytest.raises(SettingsError) as error:
        translate(variables, KNOWN)
    assert "PORTFOLIO_SESSION_TTL is not a setting" in str(error.value)
    assert "did you mean PORTFOLIO_SESSION_TTL_SECONDS?" in str(error.value)
    assert "PORTFOLIO_ZZZ is not a setting" in str(error.value)


def test_a_near_window_is_hinted_at_by_the_variable_that_sets_it() -> None:
    with pytest.raises(SettingsError, match=r"did you mean PORTFOLIO_WINDOW_MS\?"):
        translate({"PORTFOLIO_LIVE_WINDOWS_MS": "200"}, KNOWN)


def test_a_template_is_read_past_its_intrinsic_functions(tmp_path: Path) -> None:
    template = tmp_path / "template.yaml"
    template.write_text(
        "Parameters:\n  Shards: {Type: Number, Default: 64}\n  JwtIssuer: {Type: String}\n"
        "Resources:\n  A: {Properties: {Name: !Sub '${Shards}', Url: !GetAtt A.B, L: !If [C, !Ref Shards, x]}}\n"
    )
    assert template_defaults(template) == {"Shards": "64", "JwtIssuer": None}
