"""Settings: `klinehub.toml`, then the environment, then options, the later over the earlier."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed import binance
from klinehub.hub import DEFAULT_TIMEFRAMES, HubSettings

FILE: Final = "klinehub.toml"
PREFIX: Final = "KLINEHUB_"


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """Where the market is: `name`, its addresses, and how much of its request budget may be spent."""

    name: str = "binance-usdm"
    rest_url: str = binance.REST_URL
    stream_url: str = binance.STREAM_URL
    weight_limit: int = binance.WEIGHT_LIMIT
    share: float | None = 0.8


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept: the series, how many bars of each, and which symbols."""

    timeframes: tuple[str, ...] = DEFAULT_TIMEFRAMES
    native: bool = False
    bars: int = 498
    symbols: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    quote: str = "USDT"
    min_turnover: float = 0.0
    most_symbols: int | None = None
    tradifi: bool = True
    spare: int = 32


class Scan(msgspec.Struct, frozen=True, kw_only=True):
    """How the market is ranked: on which timeframe, with which weights, and what is shown."""

    timeframe: str | None = None
    weights: dict[str, float] | None = None
    unavailable: tuple[str, ...] = ()
    min_score: float = 0.0
    top: int = 20


class Net(msgspec.Struct, frozen=True, kw_only=True):
    """How the exchange is reached: proxy, time-out in seconds, requests at a time, names on a socket."""

    proxy: str | None = None
    timeout: float = 10.0
    batch: int = 64
    streams_per_socket: int = 200


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """How times are shown: an IANA zone such as Europe/Berlin."""

    tz: str = "UTC"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings; each has a key in `klinehub.toml` and a variable `KLINEHUB_<TABLE>_<KEY>`."""

    exchange: Exchange = Exchange()
    market: Market = Market()
    scan: Scan = Scan()
    network: Net = Net()
    output: Output = Output()

    def hub(self) -> HubSettings:
        """Give the part that a hub needs."""
        market, exchange = self.market, self.exchange
        return HubSettings(
            rest_url=exchange.rest_url,
            stream_url=exchange.stream_url,
            weight_limit=exchange.weight_limit,
            share=exchange.share,
            scan_timeframe=self.scan.timeframe,
            weights=self.scan.weights,
            unavailable=self.scan.unavailable,
            min_score=self.scan.min_score,
            timeout=self.network.timeout,
            batch=self.network.batch,
            streams_per_socket=self.network.streams_per_socket,
            **{name: getattr(market, name) for name in Market.__struct_fields__},
        )


TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "exchange": Exchange,
    "market": Market,
    "scan": Scan,
    "network": Net,
    "output": Output,
}
_LISTS: Final = frozenset({"timeframes", "symbols", "exclude", "unavailable"})


def load(
    path: Path | None, environ: Mapping[str, str], options: Mapping[str, object] | None = None
) -> Config:
    """Read the settings; *options* are `table.key` to value, None where an option was not given.

    Without *path*, `klinehub.toml` in the current folder is read when it is there. Raises UnknownName
    for a key that does not exist and DefinitionError for a value that does not fit.
    """
    values: dict[str, dict[str, object]] = {table: {} for table in TABLES}
    source = path if path is not None else Path(FILE)
    if path is not None or source.exists():
        _merge_file(source, values)
    _merge_environ(environ, values)
    for dotted, value in (options or {}).items():
        if value is not None:
            table, _, key = dotted.partition(".")
            values[table][key] = value
    try:
        return msgspec.convert(values, Config, strict=False)
    except msgspec.ValidationError as exc:
        raise DefinitionError(f"A setting does not fit: {str(exc).replace('$.', '')}.") from exc


def _merge_file(path: Path, into: dict[str, dict[str, object]]) -> None:
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        reason = exc.strerror or exc
        raise DefinitionError(f"{path} cannot be read ({reason}): check --config or leave it out.") from exc
    except tomllib.TOMLDecodeError as exc:
        raise DefinitionError(f"{path} is not valid TOML: {exc}.") from exc
    for table, keys in read.items():
        if table not in TABLES:
            raise UnknownName(f"table in {path}", table, TABLES)
        if not isinstance(keys, dict):
            raise DefinitionError(f"{path}: {table!r} has to be a table, written [{table}].")
        for key, value in keys.items():
            _check_key(f"setting in {path}", table, key)
            into[table][key] = value


def _merge_environ(environ: Mapping[str, str], into: dict[str, dict[str, object]]) -> None:
    for name, text in environ.items():
        if not name.startswith(PREFIX):
            continue
        table, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if table not in TABLES:
            raise UnknownName("variable", name, [f"{PREFIX}{t.upper()}_…" for t in TABLES])
        _check_key("setting of the environment", table, key)
        into[table][key] = listed(text) if key in _LISTS else _scalar(key, text)


def _scalar(key: str, text: str) -> object:
    """Read a variable's text: JSON for the weights, nothing for an empty one."""
    if key == "weights":
        try:
            return msgspec.json.decode(text, type=dict[str, float])
        except msgspec.DecodeError as exc:
            raise DefinitionError(
                f'{PREFIX}SCAN_WEIGHTS has to be JSON such as {{"rsi": 10}}: {exc}.'
            ) from exc
    return None if text.lower() in {"", "none"} else text


def _check_key(kind: str, table: str, key: str) -> None:
    known = TABLES[table].__struct_fields__
    if key not in known:
        raise UnknownName(kind, f"{table}.{key}", [f"{table}.{name}" for name in known])


def listed(text: str) -> list[str]:
    """Split a comma-separated option or variable."""
    return [part.strip() for part in text.split(",") if part.strip()]
