"""The ``foliostream`` command: how it is called, and what it ends with."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from foliostream_client import commands, completion
from foliostream_client.cells import SYMBOL
from foliostream_client.errors import ApiError, ClientError, InputError, SettingError, SocketError
from foliostream_client.layouts import EVERY
from foliostream_client.output import Output

USAGE, NOT_ALLOWED, NO_ANSWER, BAD_INPUT = 2, 3, 4, 5
INTERRUPTED: Final = 130
READER_GONE: Final = 141

DESCRIPTION: Final = "Watch portfolios, bring prices, fills and transactions in, and take them out."
EPILOG: Final = """\
exit codes: 0 done, 1 refused or partly rejected, 2 wrong usage, 3 not logged in or not allowed, 4 nothing answers,
5 the input cannot be read, 130 interrupted. FOLIOSTREAM_URL, FOLIOSTREAM_TOKEN and FOLIOSTREAM_WS_URL come before
what `login` stored."""
LAYOUTS: Final = "layouts, told by the header:\n" + "\n".join(f"  {layout.name:14}{layout.title}" for layout in EVERY)

Run = Callable[[argparse.Namespace, Output], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    options = parser().parse_args(arguments)
    try:
        code = _run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read this has enough; nothing more may be written, also not when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE
    return code


def _run(options: argparse.Namespace) -> int:
    run: Run = options.run
    try:
        return run(options, Output(as_json=options.json))
    except KeyboardInterrupt:
        return INTERRUPTED
    except UnicodeDecodeError as fault:
        sys.stderr.write(f"foliostream: the input is no UTF-8: {fault.reason}\n")
        return BAD_INPUT
    except BrokenPipeError:
        raise  # nobody reads any more: not a fault of a file
    except OSError as fault:
        sys.stderr.write(f"foliostream: {fault.filename or 'the system'}: {fault.strerror or fault}\n")
        return commands.REFUSED
    except ClientError as fault:
        sys.stderr.write(f"foliostream: {fault}\n")
        return _code(fault)


def _code(fault: ClientError) -> int:
    if isinstance(fault, InputError):
        return BAD_INPUT
    if isinstance(fault, SettingError):
        return NOT_ALLOWED
    if isinstance(fault, ApiError | SocketError):
        if fault.status in (401, 403):
            return NOT_ALLOWED
        return NO_ANSWER if fault.status == 0 else commands.REFUSED
    return commands.REFUSED


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(
        prog="foliostream",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    places = top.add_subparsers(required=True, metavar="COMMAND")
    _access(places)
    _portfolios(places)
    _feeds(places)
    _files(places)
    _add(places, "status", "how the deployment is (figures: scope admin)", commands.status)
    shell = _add(places, "completion", 'complete in a shell: eval "$(foliostream completion bash)"', _completion)
    shell.add_argument("shell", choices=completion.SHELLS)
    return top


Places: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add(places: Places, name: str, text: str, run: Run, epilog: str | None = None) -> argparse.ArgumentParser:
    added = places.add_parser(
        name, help=text, description=text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    added.add_argument("--json", action="store_true", help="JSON for programs")
    added.set_defaults(run=run)
    return added


def _access(places: Places) -> None:
    login = _add(places, "login", "store address and token, which is read from the terminal or a pipe", commands.login)
    login.add_argument("--url", help="the REST API's stage, https://...")
    login.add_argument("--ws-url", help="the WebSocket's, wss://... (left out: it is asked for when needed)")
    login.add_argument("--local", action="store_true", help="the cloud that `make up` started here")
    _add(places, "logout", "forget address and token", commands.logout)


def _portfolios(places: Places) -> None:
    _add(places, "portfolios", "list your portfolios", commands.portfolios)
    state = _add(places, "state", "show a portfolio's newest state", commands.state)
    state.add_argument("portfolio")
    watch = _add(places, "watch", "show portfolios as they change (none named: all, at most 50)", commands.watch)
    watch.add_argument("portfolio", nargs="*")
    watch.add_argument("--count", type=_count, metavar="N", help="end after N states")
    analyze = _add(places, "analyze", "five metrics of a ticker that a portfolio holds, as they come", commands.analyze)
    analyze.add_argument("ticker")
    analyze.add_argument("portfolio")


def _feeds(places: Places) -> None:
    _push(places, "prices", "CSV with symbol,bid,ask,last,ts,..., or JSON lines", commands.push_prices, 1_000)
    _push(places, "fills", "CSV with fill_id,portfolio_id,..., or JSON lines", commands.push_fills, 100)


def _push(places: Places, name: str, shape: str, run: Run, most: int) -> None:
    group = places.add_parser(name, help=f"send {name} from a file or a pipe", description=f"send {name}")
    inner = group.add_subparsers(required=True, metavar="COMMAND")
    push = _add(inner, "push", f"send {name} (scope {name}:write): {shape}", run)
    push.add_argument("file", metavar="FILE|-", help="- is the standard input")
    text = f"how many at once, at most {most:,} (the default); 1 sends each as it comes out of a pipe"
    push.add_argument("--batch", type=_count, default=most, metavar="N", help=text)


def _files(places: Places) -> None:
    imported = _add(places, "import", "book the transactions of a broker's CSV file", commands.import_file, LAYOUTS)
    imported.add_argument("file", metavar="FILE|-")
    imported.add_argument("--portfolio", required=True, metavar="ID", help="where they are booked")
    imported.add_argument("--dry-run", action="store_true", help="only say what would be booked")
    imported.add_argument(
        "--layout", choices=[layout.name for layout in EVERY], help="instead of what the header tells"
    )
    text = "what the file calls NAME is SYMBOL here (also an ISIN); may be given again"
    imported.add_argument("--map", action="append", default=[], type=_mapping, metavar="NAME=SYMBOL", help=text)
    imported.add_argument("--timezone", metavar="ZONE", help="of times without one (default: the broker's)")
    imported.add_argument("--skip-unsupported", action="store_true", help="leave out what cannot be booked from files")
    exported = _add(places, "export", "write state, positions, transactions or days to a file", commands.export)
    exported.add_argument("portfolio")
    exported.add_argument("what", choices=("state", "positions", "transactions", "history"))
    exported.add_argument("--format", choices=("csv", "json"), default="csv")
    exported.add_argument("--out", default="-", metavar="FILE", help="default: the standard output")
    exported.add_argument("--from", dest="first", metavar="DAY", help="first day of a history, 2026-02-26")
    exported.add_argument("--to", dest="last", metavar="DAY", help="its last day")


def _completion(options: argparse.Namespace, output: Output) -> int:
    output.text(completion.script(parser(), options.shell).rstrip("\n"))
    return commands.OK


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above zero")
    return int(text)


def _mapping(text: str) -> tuple[str, str]:
    name, equals, symbol = text.rpartition("=")
    if not equals or not name or not SYMBOL.fullmatch(symbol):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=SYMBOL")
    return name, symbol


if __name__ == "__main__":
    sys.exit(main())
