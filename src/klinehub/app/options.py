"""Options that several commands share, and how they become settings."""

import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from klinehub.errors import DefinitionError

if TYPE_CHECKING:
    from klinehub.app.config import Config

Command = TypeVar("Command", bound=Callable[..., object])

# Option name to setting; the value of a list option is comma-separated.
SETTINGS: Final = {
    "exchange": "exchange.name",
    "also": "exchange.also",
    "rest_url": "exchange.rest_url",
    "stream_url": "exchange.stream_url",
    "archive_url": "exchange.archive_url",
    "data": "store.path",
    "history": "store.history_path",
    "timeframes": "market.timeframes",
    "symbols": "market.symbols",
    "most": "market.most_symbols",
    "quote": "market.quote",
    "min_turnover": "market.min_turnover",
    "bars": "market.bars",
    "native": "market.native",
    "universe": "universe.choose",
    "marks": "market.marks",
    "spot": "market.spot",
    "open_interest": "market.open_interest",
    "timeframe": "scan.timeframe",
    "min_score": "scan.min_score",
    "top": "scan.top",
    "proxy": "network.proxy",
    "batch": "network.batch",
    "timeout": "network.timeout",
    "serve": "serve.on",
    "port": "serve.port",
    "ws_port": "serve.ws_port",
    "token": "serve.token",
    "tz": "output.tz",
    "publish": "relay.publish",
    "subscribe": "relay.subscribe",
    "cluster": "relay.cluster",
}
_LISTED: Final = frozenset({"also", "timeframes", "symbols"})

_MARKET: Final = (
    click.option(
        "--exchange", metavar="NAME", help="binance-usdm, -spot or -coinm, or ccxt:NAME for others."
    ),
    click.option(
        "--rest-url", metavar="URL", help="Another REST address: a mirror, a test network, a simulator."
    ),
    click.option("--stream-url", metavar="URL", help="Another WebSocket address."),
)
_PROXY: Final = (
    click.option("--proxy", metavar="URL", help="http, https or socks5h proxy for REST and WebSocket."),
)
_TIMEOUT: Final = (
    click.option("--timeout", type=float, metavar="S", help="Seconds to wait for one REST answer; 10."),
)
_HUB: Final = (
    *_MARKET,
    click.option("--timeframes", metavar="LIST", help="Which timeframes, for example 1m,5m,15m,1h."),
    click.option("--symbols", metavar="LIST", help="Just these symbols, for example BTCUSDT,ETHUSDT."),
    click.option("--most", type=int, metavar="N", help="At most N symbols, those with the largest turnover."),
    click.option("--quote", metavar="ASSET", help="The quote asset of the market; USDT or USD."),
    click.option("--min-turnover", type=float, metavar="X", help="Leave out symbols below X in 24 hours."),
    click.option(
        "--universe", is_flag=True, default=None, help="Scan only what the rules of the universe choose."
    ),
    click.option("--bars", type=int, metavar="N", help="How many closed bars to keep of each series; 499."),
    click.option(
        "--native", is_flag=True, default=None, help="Stream every timeframe instead of the smallest."
    ),
    click.option(
        "--marks", is_flag=True, default=None, help="Keep mark prices and funding beside the klines."
    ),
    click.option("--spot", is_flag=True, default=None, help="Follow the spot pairs of the symbols too."),
    click.option(
        "--open-interest", type=float, metavar="S", help="Ask for it of each symbol every S seconds."
    ),
    *_PROXY,
    click.option("--batch", type=int, metavar="N", help="Requests under way at a time in a warm-up; 64."),
)
_SCAN: Final = (
    click.option("--timeframe", metavar="TF", help="Rank on the closed bars of this timeframe."),
    click.option("--min-score", type=float, metavar="X", help="Show only scores of at least X in size."),
    click.option("--top", type=int, metavar="N", help="How many rows to show; 20."),
    click.option(
        "--every",
        type=click.FloatRange(0, 86_400, min_open=True),
        metavar="S",
        help="Rank the bars that are still open, every S seconds of market time.",
    ),
)
_PORT: Final = click.IntRange(0, 65_535)
_ALSO: Final = (
    click.option("--also", metavar="LIST", help="Follow these markets too, for example binance-spot."),
)
_RUNNING: Final = (
    click.option("--market", metavar="NAME", help="Which market of the running hub; its first one."),
)
_SERVE: Final = (
    click.option(
        "--serve/--no-serve", default=None, help="Lend the cache to other programs on this machine; yes."
    ),
    click.option("--port", type=_PORT, metavar="N", help="Where REST is served; 8787, 0 for any."),
    click.option("--ws-port", type=_PORT, metavar="N", help="Where streams are served; 8788, 0 for any."),
)
_RELAY: Final = (
    click.option("--publish", metavar="URL", help="Tell other hubs of this market at a NATS server."),
    click.option(
        "--subscribe", metavar="URL", help="Be fed by hubs that publish there, in place of the exchange."
    ),
    click.option(
        "--cluster", metavar="URL", help="Share the market out with other hubs at that NATS server."
    ),
)
_SCREEN: Final = (
    click.option("--where", metavar="EXPR", help="Only where this holds, as 'rsi_1h < 30 and age > 30d'."),
    click.option("--screen", metavar="NAME", help="A preset in place of the score: momentum, breakout, …"),
    click.option("--file", metavar="FILE[:NAME]", help="A screen of your own, as mine.py:screen."),
)
_HISTORY: Final = (
    click.option(
        "--history",
        metavar="PLACE",
        help="Where history is, as s3://bucket/prefix; in the data folder, or `store.history_path`.",
    ),
)
_STORE: Final = (
    click.option("--market", metavar="NAME", help="Which market; binance-usdm, or binance-spot."),
    click.option(
        "--data", metavar="FOLDER", help="Where klines are kept; this user's folder, or `store.path`."
    ),
    *_HISTORY,
)
_REST: Final = (
    click.option("--rest", is_flag=True, help="Ask the exchange too, within the request budget."),
    click.option("--rest-url", metavar="URL", help="Another REST address: a mirror, a simulator."),
    *_PROXY,
    *_TIMEOUT,
)
_ARCHIVE: Final = (
    *_STORE,
    click.option(
        "--archive-url", metavar="URL", help="Another address of the archive: a mirror, a simulator."
    ),
    click.option("--rest-url", metavar="URL", help="Another REST address, for the newest days."),
    *_PROXY,
)
_PAST: Final = (
    click.option(
        "--data",
        metavar="PATH",
        help="A data folder of klinehub, or Parquet or CSV files; the user's folder.",
    ),
    *_HISTORY,
    click.option(
        "--market", metavar="NAME", help="Which market of the data folder; binance-usdm, or another."
    ),
    click.option("--from", "start", metavar="TIME", help="From this day or time on; all there is."),
    click.option("--to", "end", metavar="TIME", help="Up to and with this day, or up to this time."),
    click.option("--timeframe", metavar="TF", help="Judge closes of this timeframe; that of the screen."),
    click.option(
        "--timeframes", metavar="LIST", help="Work with these; those of the settings that can be had."
    ),
    click.option("--horizons", default="1,4,24,96", show_default=True, help="Returns over so many bars."),
    click.option(
        "--universe",
        type=click.Choice(["listed", "rules"]),
        default="listed",
        show_default=True,
        help="Everybody who traded, or who the rules of the settings would have chosen.",
    ),
    click.option(
        "--universe-record",
        type=click.Path(exists=True),
        metavar="FILE",
        help="Only who was in by this record of a hub.",
    ),
    click.option(
        "--workers", type=click.IntRange(1), metavar="N", help="Threads, or tasks of Ray; as many as cores."
    ),
    click.option(
        "--ray", metavar="ADDRESS", help="Replay on a Ray cluster: auto, HOST:PORT, or local to start one."
    ),
)
_JUDGED: Final = (
    click.option(
        "--headline", type=click.IntRange(1), metavar="N", help="The horizon of the verdict; a middle one."
    ),
    click.option("--quantiles", default=5, show_default=True, help="Into how many parts each bar is cut."),
    click.option("--fee", default=5.0, show_default=True, help="Basis points that each trade pays as a fee."),
    click.option("--slippage", default=2.0, show_default=True, help="Basis points that it loses beside."),
    click.option("--log", type=click.Path(), metavar="FILE", help="The log of trials; in the user's folder."),
    click.option("--no-log", is_flag=True, help="Neither read nor write the log of trials."),
)
_COMMON: Final = (
    click.option(
        "--config", type=click.Path(path_type=Path), metavar="FILE", help="Settings; klinehub.toml."
    ),
    click.option("--tz", metavar="ZONE", help="Time zone of shown times; UTC."),
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout."),
)


def hub_options(command: Command) -> Command:
    """Add the options that choose a market and how it is reached."""
    return _add(command, _HUB + _COMMON)


def reach_options(command: Command) -> Command:
    """Add the options that say how a market is reached."""
    return _add(command, _MARKET + _PROXY + _TIMEOUT + _COMMON)


def archive_options(command: Command) -> Command:
    """Add the options that say where the archive is and where its klines are kept."""
    return _add(command, _ARCHIVE + _COMMON)


def store_options(command: Command) -> Command:
    """Add the options that say where klines are kept."""
    return _add(command, _STORE + _COMMON)


def store_rest_options(command: Command) -> Command:
    """Add the options that say where klines are kept, and how the exchange is asked of them."""
    return _add(command, _STORE + _REST + _COMMON)


def history_options(command: Command) -> Command:
    """Add the options that say what a study of history reads and asks."""
    return _add(command, _PAST + _JUDGED)


def past_options(command: Command) -> Command:
    """Add the options that say what of history is read."""
    return _add(command, _PAST)


def scan_options(command: Command) -> Command:
    """Add the options of a ranking."""
    return _add(command, _SCAN)


def serve_options(command: Command) -> Command:
    """Add the options that say where the cache is lent to other programs."""
    return _add(command, _SERVE)


def relay_options(command: Command) -> Command:
    """Add the options that join hubs on several machines."""
    return _add(command, _RELAY)


def also_options(command: Command) -> Command:
    """Add the option that has further markets followed."""
    return _add(command, _ALSO)


def running_options(command: Command) -> Command:
    """Add the option that says which market of a running hub is meant."""
    return _add(command, _RUNNING)


def screen_options(command: Command) -> Command:
    """Add the options that choose a screen."""
    return _add(command, _SCREEN)


def common_options(command: Command) -> Command:
    """Add the options of every command."""
    return _add(command, _COMMON)


def _add(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def settings(options: Mapping[str, object]) -> "Config":
    """Turn a command's options into settings, over those of the file and the environment."""
    # The settings know the hub, and that takes a second to load: not for --help.
    from klinehub.app.config import listed, load
    from klinehub.app.show import output, zone

    chosen: dict[str, object] = {}
    for name, key in SETTINGS.items():
        value = options.get(name)
        chosen[key] = listed(str(value)) if value is not None and name in _LISTED else value
    if options.get("data") is not None and options.get("history") is None:
        # A data folder that is named is meant as it is, not with the history of another.
        chosen[SETTINGS["history"]] = ""
    config = options.get("config")
    found = load(config if isinstance(config, Path) else None, os.environ, chosen)
    output.tz = zone(found.tz)
    return found


def choose_market(given: Mapping[str, object]) -> bool:
    """Whether the command line itself says which market to ask, so that no running hub is meant."""
    shown = {"timeframe", "min_score", "top", "tz", "serve", "port", "ws_port"}
    names = ("config", *(name for name in SETTINGS if name not in shown))
    return any(given.get(name) is not None for name in names)


def spoken_to(exchange: str, command: str) -> None:
    """Refuse an exchange that ccxt asks for a command that speaks to exchanges itself."""
    if exchange.startswith("ccxt:"):
        raise DefinitionError(
            f"`klinehub {command}` does not know {exchange}, which ccxt asks: `run`, `scan`, `watch`, "
            "`klines`, `verify` and `universe` do."
        )


def when(text: str) -> int:
    """Read an ISO time such as 2025-10-10T21:30:00Z into ms UTC; a time without a zone is UTC."""
    try:
        parsed = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
    except ValueError as exc:
        raise DefinitionError(f"{text!r} is not a time. Write it like 2025-10-10T21:30:00Z.") from exc
    aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)


def door() -> Path:
    """Give the file at which a running hub answers, in the runtime folder or the home folder."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return (Path(base) if base else Path.home() / ".cache") / "klinehub" / "hub.sock"


def data_home() -> Path:
    """Give the folder of this user's data."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "klinehub"
