"""`python -m local up|down|demo|status|logs|import-history|rebuild-hot|dlq-list|dlq-show|dlq-replay|bridge|token`."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from foliostream_client.errors import ApiError
from foliostream_client.transport import Rest
from local import cloud, figures, page, price_files, rebuild, sam, services
from local.dead_letters import DeadLetters
from local.environments import ROOT, InstallError
from local.issuer import LIFETIME_S
from local.price_files import PriceFileError
from local.services import CloudError
from local.settings import Settings, SettingsError, from_environment


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it worked."""
    parser = argparse.ArgumentParser(prog="python -m local", description="The cloud on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _command(commands, "up", "start or refresh the cloud; returns when it answers", _up)
    _command(commands, "down", "stop everything that was started, also after a crash", _down)
    _command(commands, "demo", "all of it with sample accounts and real prices; DEMO_SECONDS=20 ends by itself", _demo)
    _command(commands, "status", "say whether it runs, where, how fresh its figures are and what waits", _status)
    logs = _command(commands, "logs", "print what the functions wrote", _logs)
    logs.add_argument("--function", default="", help="only functions whose log group holds this, such as push")
    _command(commands, "rebuild-hot", "make the hot store again from the ledger, showing how far it is", _rebuild_hot)
    _command(commands, "dlq-list", "dead letters: how many, how old", _dlq_list)
    shown = _command(commands, "dlq-show", "what dead letters say", _dlq_show)
    replayed = _command(commands, "dlq-replay", "work with dead letters again", _dlq_replay)
    for letters in (shown, replayed):
        letters.add_argument("queue", help="as dlq-list names it, such as fills")
        letters.add_argument("--id", action="append", default=[], help="of a letter, as dlq-show names it; repeatable")
    replayed.add_argument("--all", action="store_true", help="all that are there now")
    _command(commands, "bridge", "take the ticks of a Redis channel to the cloud, until Ctrl-C", _bridge)
    closes = _command(commands, "import-history", "give the daily closes of a CSV file to the cloud", _import_history)
    closes.add_argument("file", type=Path, help="date,AAPL,MSFT,... or symbol,date,close; also gzipped")
    closes.add_argument("--adjusted", action="store_true", help="they are divided by all splits registered so far")
    token = _command(commands, "token", "print a token of the local issuer", _token)
    token.add_argument("--sub", default="demo", help="whose token (default: demo)")
    token.add_argument("--scopes", default="", help='such as "prices:write admin" (default: none)')
    token.add_argument("--lifetime-s", type=int, default=LIFETIME_S, help="seconds it is valid (default: 12 hours)")
    options = parser.parse_args(arguments)
    try:
        settings = from_environment()
        run: Callable[[Settings, argparse.Namespace], int] = options.run
        return run(settings, options)
    except CloudError as error:
        print(f"\n{error.report()}", file=sys.stderr)
    except (SettingsError, InstallError, PriceFileError, ApiError) as error:
        print(f"\n{error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ninterrupted; `make down` stops whatever is left", file=sys.stderr)
    return 1


def _up(settings: Settings, _: argparse.Namespace) -> int:
    outputs = cloud.up(settings)
    _print_addresses(settings, outputs)
    try:
        print(f"Page       {page.up(settings, outputs)}")
    except page.PageError as error:
        print(f"Page       {error}")
    return 0


def _down(settings: Settings, _: argparse.Namespace) -> int:
    stopped = cloud.down(settings)
    print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")
    return 0


def _demo(_settings: Settings, _: argparse.Namespace) -> int:
    # The only command that uses the application's own package, which is deployed as a layer and installed nowhere.
    sys.path.insert(0, str(ROOT / "layers" / "foliostream" / "python"))
    from local import demo

    return demo.main()


def _running(settings: Settings) -> cloud.Outputs:
    """What the running cloud answers with; ``CloudError`` if none was started."""
    outputs = cloud.read_outputs(settings)
    if outputs is None:
        raise CloudError("the cloud is not running: `make up` starts it")
    return outputs


def _status(settings: Settings, _: argparse.Namespace) -> int:
    outputs = cloud.read_outputs(settings)
    if not outputs or not services.running(settings) or not cloud.is_healthy(outputs):
        print("the cloud is not running: `make up` starts it")
        return 1
    _print_addresses(settings, outputs)
    operator = Rest(outputs.rest_url, cloud.local_issuer(settings).token("operator", ["admin"]))
    print(figures.read(operator, sam.function_logs(outputs.aws_endpoint, "recalculate", figures.SINCE_S)))
    return 0


def _logs(settings: Settings, options: argparse.Namespace) -> int:
    outputs = _running(settings)
    print("\n".join(sam.function_logs(outputs.aws_endpoint, options.function)))
    return 0


def _rebuild_hot(settings: Settings, _: argparse.Namespace) -> int:
    return 0 if rebuild.rebuild_hot(_running(settings)).broken == 0 else 1


def _dlq_list(settings: Settings, _: argparse.Namespace) -> int:
    _dead_letters(settings).list()
    return 0


def _dlq_show(settings: Settings, options: argparse.Namespace) -> int:
    _dead_letters(settings).show(options.queue, options.id)
    return 0


def _dlq_replay(settings: Settings, options: argparse.Namespace) -> int:
    if options.all == bool(options.id):
        raise CloudError("say either which (ID=...), or all (ALL=1)")
    return 0 if _dead_letters(settings).replay(options.queue, options.id) else 1


def _dead_letters(settings: Settings) -> DeadLetters:
    return DeadLetters(_running(settings))


def _import_history(settings: Settings, options: argparse.Namespace) -> int:
    outputs = _running(settings)
    rest = Rest(outputs.rest_url, outputs.token)
    refused = price_files.give(rest, price_files.read(options.file), adjusted=options.adjusted, show=print)
    return 1 if refused else 0


def _bridge(settings: Settings, _: argparse.Namespace) -> int:
    # This process becomes the bridge, so that signals and the exit code are the bridge's own.
    command = [sys.executable, "-m", "foliostream.bridge"]
    os.execve(sys.executable, command, bridge_environment(_running(settings), os.environ))  # noqa: S606 (no shell)


def bridge_environment(outputs: cloud.Outputs, environment: Mapping[str, str]) -> dict[str, str]:
    """The cloud's price queue, as whom to send there, and its own Valkey as the source where no other is named."""
    return dict(environment) | {
        "PYTHONPATH": str(ROOT / "layers" / "foliostream" / "python"),
        "PORTFOLIO_REDIS_URL": environment.get("PORTFOLIO_REDIS_URL") or outputs.redis_url,
        "PORTFOLIO_PRICE_QUEUE_URL": outputs.resources["PriceQueueUrl"],
        "AWS_ENDPOINT_URL": outputs.aws_endpoint,
        "AWS_ACCESS_KEY_ID": outputs.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": outputs.aws_secret_access_key,
        "AWS_REGION": outputs.region,
        "AWS_DEFAULT_REGION": outputs.region,
    }


def _token(settings: Settings, options: argparse.Namespace) -> int:
    print(cloud.local_issuer(settings).token(options.sub, options.scopes.split(), lifetime_s=options.lifetime_s))
    return 0


def _print_addresses(settings: Settings, outputs: cloud.Outputs) -> None:
    path = settings.outputs
    shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
    print(f"REST       {outputs.rest_url}")
    print(f"WebSocket  {outputs.ws_url}")
    print(f"AWS        {outputs.aws_endpoint}")
    print(f"Valkey     {outputs.redis_url}")
    print(f"Token      {outputs.token}")
    print(f"All of it  {shown}")


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Callable[[Settings, argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


if __name__ == "__main__":
    sys.exit(main())
