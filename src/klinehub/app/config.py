"""Settings: `klinehub.toml`, then the environment, then options, the later over the earlier."""

import tomllib
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from typing import Final

import msgspec

from klinehub.alerts.rule import RuleText
from klinehub.app.screens import ScreenText, WatchText
from klinehub.domain.universe_rules import Rules
from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed.archive import FILES_URL, LISTING_URL
from klinehub.feed.venue import venue_of
from klinehub.scan.score import reading
from klinehub.settings import (
    AlertSettings,
    Discreet,
    EvidenceSettings,
    HubSettings,
    ServeSettings,
    TargetSettings,
    WebhookSettings,
)

FILE: Final = "klinehub.toml"
PREFIX: Final = "KLINEHUB_"


class MarketText(Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[markets.NAME]`: with what a further market is followed.

    What is not set is the market's own, but for the timeframes and the number of bars: these are those of
    the first market.
    """

    rest_url: str | None = None
    stream_url: str | None = None
    weight_limit: int | None = None
    timeframes: tuple[str, ...] = ()
    bars: int | None = None
    symbols: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    quote: str | None = None
    min_turnover: float | None = None
    most_symbols: int | None = None


class Config(Discreet, frozen=True, kw_only=True):
    """All settings of a command; `hub` are those of the hub, `serve` those of what it lends to others.

    `tz` is an IANA zone such as Europe/Berlin. Without `archive_listing_url` the exchange's archive is listed
    where it lists it, another one at its own `archive_url`.
    `also` names the markets that are followed beside that of the hub.
    `file` is the one that they were read from, empty for none.
    `screens`, `watch`, `alert_rules`, `webhooks`, `targets` and `markets` are tables by name, in the file
    alone.
    """

    hub: HubSettings = HubSettings()
    serve: ServeSettings = ServeSettings()
    alerts: AlertSettings = AlertSettings()
    evidence: EvidenceSettings = EvidenceSettings()
    proxy: str | None = None
    also: tuple[str, ...] = ()
    archive_url: str = FILES_URL
    archive_listing_url: str = ""
    top: int = 20
    tz: str = "UTC"
    file: str = ""
    screens: Mapping[str, ScreenText] = {}
    watch: Mapping[str, WatchText] = {}
    alert_rules: Mapping[str, RuleText] = {}
    webhooks: Mapping[str, WebhookSettings] = {}
    targets: Mapping[str, TargetSettings] = {}
    markets: Mapping[str, MarketText] = {}

    @property
    def exchange(self) -> str:
        """The exchange that the hub follows."""
        return self.hub.exchange

    @property
    def listing_url(self) -> str:
        """Where the archive lists what is in it."""
        usual = LISTING_URL if self.archive_url.rstrip("/") == FILES_URL else self.archive_url
        return self.archive_listing_url or usual

    def __post_init__(self) -> None:
        """Refuse a table without rows, and a name that means two targets."""
        if self.top < 1:
            raise DefinitionError(f"`scan.top` is {self.top}: a table has at least 1 row.")
        twice = sorted(self.targets.keys() & self.webhooks.keys())
        if twice:
            raise DefinitionError(
                f"{twice[0]!r} names a table of [webhooks] and one of [targets]: give one another name."
            )
        for name in (*self.also, *self.markets):
            venue_of(name)
        if self.exchange in self.also or len(set(self.also)) < len(self.also):
            raise DefinitionError(
                f"`exchange.also` names {', '.join(self.also)} beside {self.exchange}: name each market once."
            )


# Each table of the file: its keys, and the field of Config, its hub settings or their rules that each sets.
TABLES: Final[dict[str, dict[str, str]]] = {
    "exchange": {
        "name": "exchange",
        "also": "also",
        **{key: key for key in ("rest_url", "stream_url", "fallback_urls", "weight_limit", "share", "audit")},
        "forwarded": "forwarded",
        **{key: key for key in ("spot_rest_url", "spot_stream_url")},
        **{key: key for key in ("archive_url", "archive_listing_url")},
    },
    "market": {
        key: key
        for key in (
            "timeframes",
            "native",
            "bars",
            "shallow",
            "symbols",
            "exclude",
            "quote",
            "min_turnover",
            "most_symbols",
            "tradifi",
            "spare",
            "marks",
            "tickers",
            "open_interest",
            "spot",
            "panel_file",
        )
    },
    "scan": {
        "timeframe": "scan_timeframe",
        "weights": "weights",
        "unavailable": "unavailable",
        "min_score": "min_score",
        "top": "top",
    },
    "universe": {
        "choose": "choose",
        "record": "record",
        **{name: f"rules.{name}" for name in Rules.__struct_fields__},
    },
    "store": {"path": "store", "days": "store_days", "history": "history", "history_path": "history_path"},
    "network": {key: key for key in ("proxy", "timeout", "batch", "streams_per_socket")},
    "relay": {
        **{key: key for key in ("publish", "subscribe", "cluster", "copies")},
        "name": "hub_name",
        "prefix": "relay_prefix",
    },
    "serve": {name: f"serve.{name}" for name in ServeSettings.__struct_fields__},
    "alerts": {name: f"alerts.{name}" for name in AlertSettings.__struct_fields__},
    "evidence": {name: f"evidence.{name}" for name in EvidenceSettings.__struct_fields__},
    "output": {"tz": "tz"},
}
_LISTS: Final = frozenset(
    {"also", "timeframes", "symbols", "exclude", "unavailable", "fallback_urls", "pins", "allowed_hosts"}
)
# Where the fields lie that are in neither Config nor its hub settings themselves.
_PARTS: Final = ("rules", "serve", "alerts", "evidence")
# Settings that are values by name.
_BY_NAME: Final[dict[str, type]] = {"weights": dict[str, float], "clients": dict[str, str]}
# Tables of tables, whose names are the user's, and the field of Config that each sets.
_NAMED: Final = {name: name for name in ("screens", "watch", "webhooks", "targets", "markets")} | {
    "rules": "alert_rules"
}


def defaults() -> dict[str, object]:
    """Give each setting's default by its dotted key, in the order of the tables."""
    nothing = Config()
    return {
        f"{table}.{key}": attrgetter(field)(
            nothing if field.partition(".")[0] in Config.__struct_fields__ else nothing.hub
        )
        for table, keys in TABLES.items()
        for key, field in keys.items()
    }


def load(
    path: Path | None, environ: Mapping[str, str], options: Mapping[str, object] | None = None
) -> Config:
    """Read the settings; *options* are `table.key` to value, None where an option was not given.

    Without *path*, `klinehub.toml` in the current folder is read when it is there. Raises UnknownName
    for a key that does not exist and DefinitionError for a value that does not fit.
    """
    source = path if path is not None else Path(FILE)
    values = _of_file(source) if path is not None or source.exists() else {}
    values |= _of_environ(environ)
    values |= {dotted: value for dotted, value in (options or {}).items() if value is not None}
    own: dict[str, object] = {"file": str(source) if path is not None or source.exists() else ""}
    hub: dict[str, object] = {}
    parts: dict[str, dict[str, object]] = {name: {} for name in _PARTS}
    for dotted, value in values.items():
        table, _, key = dotted.partition(".")
        field = _NAMED[dotted] if dotted in _NAMED else TABLES[table][key]
        part, _, inner = field.partition(".")
        if inner:
            parts[part][inner] = value
        else:
            (own if field in Config.__struct_fields__ else hub)[field] = value
    apart = {name: parts[name] for name in _PARTS if name != "rules"}
    read = {**own, **apart, "hub": {**hub, "rules": parts["rules"]}}
    try:
        found = msgspec.convert(read, Config, strict=False)
        return msgspec.structs.replace(found, hub=possible(found.hub))
    except msgspec.ValidationError as exc:
        raise DefinitionError(f"A setting does not fit: {_placed(str(exc))}.") from exc


def possible(settings: HubSettings) -> HubSettings:
    """Give the settings without the parts of a score that read what the exchange does not tell."""
    gone = dict.fromkeys((*settings.unavailable, *sorted(reading(venue_of(settings.exchange).lacks))))
    return msgspec.structs.replace(settings, unavailable=tuple(gone))


def _placed(text: str) -> str:
    """Name the setting by its key in the file instead of the field it goes to."""
    said, _, at = text.partition(" - at `$.")
    field = at.rstrip("`").removeprefix("hub.").partition("[")[0]
    keys = {field: f"{table}.{key}" for table, keys in TABLES.items() for key, field in keys.items()}
    keys |= {field: table for table, field in _NAMED.items()}
    return f"{keys.get(field, field)}: {said}"


def _of_file(path: Path) -> dict[str, object]:
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        reason = exc.strerror or exc
        raise DefinitionError(f"{path} cannot be read ({reason}): check --config or leave it out.") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise DefinitionError(f"{path} is not valid TOML: {exc}.") from exc
    values: dict[str, object] = {}
    for table, keys in read.items():
        if table not in TABLES and table not in _NAMED:
            raise UnknownName(f"table in {path}", table, [*TABLES, *_NAMED])
        if not isinstance(keys, dict):
            raise DefinitionError(f"{path}: {table!r} has to be a table, written [{table}].")
        if table in _NAMED:
            values[table] = keys
            continue
        for key, value in keys.items():
            values[_known(f"setting in {path}", table, key)] = value
    return values


def _of_environ(environ: Mapping[str, str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, text in environ.items():
        if not name.startswith(PREFIX):
            continue
        table, _, key = name.removeprefix(PREFIX).lower().partition("_")
        if table not in TABLES:
            raise UnknownName("variable", name, [f"{PREFIX}{known.upper()}_…" for known in TABLES])
        dotted = _known("setting of the environment", table, key)
        values[dotted] = listed(text) if key in _LISTS else _scalar(key, text)
    return values


def _scalar(key: str, text: str) -> object:
    """Read a variable's text: JSON for those by name, nothing for an empty one."""
    if key in _BY_NAME:
        try:
            return msgspec.json.decode(text, type=_BY_NAME[key])
        except msgspec.DecodeError as exc:
            raise DefinitionError(
                f'The variable for `{key}` has to be JSON such as {{"rsi": 10}}: {exc}.'
            ) from exc
    return None if text.lower() in {"", "none"} else text


def _known(kind: str, table: str, key: str) -> str:
    """Give a setting's dotted key; raises UnknownName with the nearest one for any other."""
    if key not in TABLES[table]:
        raise UnknownName(kind, f"{table}.{key}", [f"{table}.{name}" for name in TABLES[table]])
    return f"{table}.{key}"


def listed(text: str) -> list[str]:
    """Split a comma-separated option or variable."""
    return [part.strip() for part in text.split(",") if part.strip()]
