"""Scripts with which a shell completes the command, made from its parser: they cannot tell of what it does not know."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final, NamedTuple

SHELLS: Final = ("bash", "zsh", "fish")


class Place(NamedTuple):
    """What may follow the words of ``path`` (``prices push``): commands, options or choices, and whether files do."""

    path: str
    words: list[str]
    takes_files: bool


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """For ``SHELLS``; to be evaluated, or stored where the shell looks for it."""
    places = list(_places(parser, ""))
    if shell == "fish":
        return _fish(parser.prog, places)
    prefix = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return prefix + _bash(parser.prog, places)


def _places(parser: argparse.ArgumentParser, path: str) -> Iterator[Place]:
    words: list[str] = []
    takes_files = False
    for action in parser._actions:
        words += action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                words.append(name)
                yield from _places(inner, f"{path} {name}".strip())
        elif action.choices and not action.option_strings:
            words += [str(choice) for choice in action.choices]
        takes_files = takes_files or action.metavar in ("FILE", "FILE|-")
    yield Place(path, words, takes_files)


def _bash(name: str, places: list[Place]) -> str:
    cases = [
        f'    "{place.path}") words="{" ".join(place.words)}" files={int(place.takes_files)} ;;' for place in places
    ]
    commands = " ".join(sorted({place.path.replace(" ", "/") for place in places if place.path}))
    return "\n".join(
        [
            f"_{name}() {{",
            '  local current="${COMP_WORDS[COMP_CWORD]}" path="" word words="" files=0 place',
            f'  local known=" {commands} "',
            '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            '    place="${path:+$path/}$word"',
            '    case "$known" in *" $place "*) path="$place" ;; esac',
            "  done",
            '  case "${path//\\// }" in',
            *cases,
            "  esac",
            '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
            '  if [ "$files" = 1 ] && [ "${current#-}" = "$current" ]; then',
            '    COMPREPLY+=($(compgen -f -- "$current"))',
            "  fi",
            "}",
            f"complete -o filenames -F _{name} {name}",
            "",
        ]
    )


def _fish(name: str, places: list[Place]) -> str:
    lines = [f"complete -c {name} -f"]
    for place in places:
        condition = _fish_condition(place, places)
        for word in place.words:
            if word.startswith("--"):
                lines.append(f"complete -c {name} -n '{condition}' -l {word[2:]}")
            elif word.startswith("-"):
                lines.append(f"complete -c {name} -n '{condition}' -s {word[1:]}")
            else:
                lines.append(f"complete -c {name} -n '{condition}' -a {word}")
        if place.takes_files:
            lines.append(f"complete -c {name} -n '{condition}' -F")
    return "\n".join(lines) + "\n"


def _fish_condition(place: Place, places: list[Place]) -> str:
    """All words of the path are there, and none that leads further."""
    path = place.path.split()
    further = {
        other.path.split()[len(path)]
        for other in places
        if len(other.path.split()) > len(path) and other.path.split()[: len(path)] == path
    }
    seen = [f"__fish_seen_subcommand_from {word}" for word in path]
    ended = [f"not __fish_seen_subcommand_from {' '.join(sorted(further))}"] if further else []
    return "; and ".join([*seen, *ended]) or "true"
