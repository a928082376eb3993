"""From `PORTFOLIO_*` variables to template parameters."""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from local.settings import SettingsError

PREFIX = "PORTFOLIO_"
WINDOW = "PORTFOLIO_WINDOW_MS"
ACCOUNT_TYPES = ("live", "demo", "paper")
# The parameters whose names do not follow from their variables.
_EXCEPTIONS = {"PORTFOLIO_EVENT_BUS": "EventBusName"}


class _TemplateLoader(yaml.SafeLoader):
    """Reads a template without evaluating its intrinsic functions (`!Ref`, `!Sub`, ...)."""


def _ignore(_loader: yaml.SafeLoader, _suffix: str, _node: yaml.Node) -> None:
    return None


_TemplateLoader.add_multi_constructor("!", _ignore)


def template_defaults(template: Path) -> dict[str, str | None]:
    """A template's parameters with their defaults as CloudFormation takes them; None where one must be given."""
    with template.open() as handle:
        # A SafeLoader with the tags of CloudFormation ignored: nothing is constructed but plain values.
        document = yaml.load(handle, Loader=_TemplateLoader)  # noqa: S506 (it is a safe one)
    parameters = document.get("Parameters") or {}
    return {name: str(value["Default"]) if "Default" in value else None for name, value in parameters.items()}


def parameter_name(variable: str) -> str:
    """PORTFOLIO_SESSION_TTL_SECONDS -> SessionTtlSeconds."""
    return _EXCEPTIONS.get(variable) or "".join(part.capitalize() for part in variable.removeprefix(PREFIX).split("_"))


def translate(variables: Mapping[str, str], known: Iterable[str]) -> dict[str, str]:
    """The parameters that `variables` ask for; one error names every variable that is none of `known`."""
    names = set(known)
    parameters: dict[str, str] = {}
    problems: list[str] = []
    for variable, value in sorted(variables.items()):
        translated = _windows(value) if variable == WINDOW else {parameter_name(variable): value}
        problems += [_unknown(variable, name, names) for name in translated if name not in names]
        parameters.update(translated)
    if problems:
        raise SettingsError("; ".join(problems))
    return parameters


def _windows(value: str) -> dict[str, str]:
    """`live=200,demo=1000,paper=3000`, or some of them, as LiveWindowMs, DemoWindowMs, PaperWindowMs."""
    windows: dict[str, str] = {}
    for part in value.split(","):
        account_type, separator, length_ms = (piece.strip() for piece in part.partition("="))
        if not separator or not length_ms or account_type not in ACCOUNT_TYPES:
            raise SettingsError(f"{WINDOW}={value}: expected live=MS,demo=MS,paper=MS, found {part.strip()!r}")
        windows[f"{account_type.capitalize()}WindowMs"] = length_ms
    return windows


def _unknown(variable: str, name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {variable_name(close[0])}?)" if close else ""
    return f"{variable} is not a setting: the template has no parameter {name}{hint}"


def variable_name(parameter: str) -> str:
    """SessionTtlSeconds -> PORTFOLIO_SESSION_TTL_SECONDS."""
    if parameter.endswith("WindowMs"):
        return WINDOW
    for variable, exception in _EXCEPTIONS.items():
        if parameter == exception:
            return variable
    return PREFIX + "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in parameter).lstrip("_")
