"""What a hub keeps and how it asks for it."""

import re
from collections.abc import Collection, Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec

from klinehub.domain.universe_rules import Rules
from klinehub.errors import DefinitionError, UnknownName
from klinehub.feed import binance
from klinehub.feed.market_data import INTEREST_FIELD, MARK_FIELDS
from klinehub.feed.network import endpoint, redact
from klinehub.feed.venue import COINM, SPOT, USDM, venue_of
from klinehub.panel.pairs import PAIR_FIELDS

DEFAULT_TIMEFRAMES: Final = ("1m", "5m", "15m", "1h")
# Seconds between two askings of a symbol's open interest, where a screen needs it and nothing was said.
USUAL_POLL: Final = 300.0

_SHORTEST_SECRET: Final = 16
# A weight limit that was not set: the exchange's own.
_OWN: Final = -(2**62)
# What is no market's own, but the same in every hub of one program.
_SHARED: Final = (
    *("timeframes", "native", "shallow", "spare", "batch", "share", "audit", "forwarded", "streams"),
    *("streams_per_socket", "timeout", "tickers", "store", "store_days", "history"),
)

# The numbers that a hub can be run with, from the least to the most.
LIMITS: Final[dict[str, tuple[float, float]]] = {
    "bars": (1, USDM.most_rows - 1),
    "shallow": (1, USDM.most_rows - 1),
    "min_turnover": (0, 1e15),
    "most_symbols": (1, 100_000),
    "spare": (0, 100_000),
    "batch": (1, 1_024),
    "share": (0.001, 1),
    "weight_limit": (100, 1_000_000),
    "streams_per_socket": (1, 1_024),
    "timeout": (0.1, 600),
    "min_score": (0, 100),
    "audit": (0, 1),
    "forwarded": (0.001, 1),
    "store_days": (1, 3_650),
    "open_interest": (0, 86_400),
    "copies": (1, 16),
}


# What becomes of a request for a series that is not proved fresh.
STALE_CHOICES: Final = ("ask", "refuse", "header")
# The numbers that serving can be set to, from the least to the most.
_SERVE_LIMITS: Final[dict[str, tuple[float, float]]] = {
    "port": (0, 65_535),
    "ws_port": (0, 65_535),
    "hold": (0, 60),
    "client_weight": (1, 10_000_000),
    "connections": (16, 65_536),
}


_EVIDENCE_LIMITS: Final[dict[str, tuple[float, float]]] = {"every": (0, 8_760), "days": (1, 3_650)}


# Settings that are secrets, or mappings to secrets.
_SECRET: Final = frozenset({"token", "clients", "secret", "url"})


class Discreet(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that show no secret, and no address with a password, where they are printed."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__rich_repr__())
        return f"{type(self).__name__}({shown})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        return [(name, _shown(name, getattr(self, name))) for name in self.__struct_fields__]


def _shown(name: str, value: object) -> object:
    if name in _SECRET and value:
        return dict.fromkeys(value, "***") if isinstance(value, Mapping) else "***"
    if isinstance(value, str):
        return redact(value)
    return tuple(_shown("", one) for one in value) if isinstance(value, tuple) else value


def _check_limits(given: Discreet, limits: Mapping[str, tuple[float, float]], table: str = "") -> None:
    """Refuse numbers outside of their *limits*; *table* is the settings' own in klinehub.toml, with a dot."""
    for name, (least, most) in limits.items():
        value = getattr(given, name)
        if value is not None and not least <= value <= most:
            raise DefinitionError(f"`{table}{name}` is {value:g}: it has to be from {least:g} to {most:g}.")


class ServeSettings(Discreet, frozen=True, kw_only=True):
    """How a hub is lent to other programs.

    REST is at `host` and `port`, streams at `ws_port`, 0 for any free one. `token` is the secret of who may
    use it, or in the file `token_file`, and `clients` gives further ones by the client's name; where there is
    any, all have to show theirs.
    `allowed_hosts` are names under which the hub is reached beside those of this machine. A request for a bar
    that has just ended is held for at most `hold` seconds of market time until it is proved. A series that is
    not proved fresh is asked of the exchange ("ask", and refused where that cannot be), refused ("refuse"),
    or given with a header that says so ("header"). With `forward` what is not kept is asked of the exchange
    too, and with `orders` signed requests as well. Each client may use `client_weight` a minute; at most
    `connections` are open at a time.
    """

    on: bool = True
    host: str = "127.0.0.1"
    port: int = 8787
    ws_port: int = 8788
    token: str = ""
    token_file: str = ""
    clients: Mapping[str, str] = {}
    allowed_hosts: tuple[str, ...] = ()
    hold: float = 3.0
    stale: str = "ask"
    forward: bool = True
    orders: bool = False
    client_weight: int = 2_400
    connections: int = 2_048

    def __post_init__(self) -> None:
        """Refuse what nothing can be served with."""
        _check_limits(self, _SERVE_LIMITS, "serve.")
        if self.stale not in STALE_CHOICES:
            raise UnknownName("choice of `serve.stale`", self.stale, STALE_CHOICES)


Format = Literal["klinehub", "freqtrade"]


class WebhookSettings(Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[webhooks.NAME]`: where alerts are posted, each signed with the `secret`.

    Of the user's own `screens` those named, all of them without any. `format` is "klinehub", or "freqtrade"
    for flat objects in the words of freqtrade's own webhooks; there a hit needs a side, and `side` is that
    of hits that have none. With `allow_private` the target may be in a private network, and plain http.
    """

    url: str
    secret: str
    screens: tuple[str, ...] = ()
    format: Format = "klinehub"
    side: Literal["long", "short"] | None = None
    allow_private: bool = False

    def __post_init__(self) -> None:
        """Refuse what nothing can be posted to, without showing the address: it may hold a secret."""
        try:
            parts = urlsplit(self.url)
            fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise DefinitionError(
                "The `url` of a webhook is none: write it like https://host/path."
            ) from None
        if not fits or parts.username is not None:
            raise DefinitionError(
                "The `url` of a webhook has to be like https://host/path, without a user name in it."
            )
        if parts.scheme == "http" and not self.allow_private:
            raise DefinitionError(
                f"A webhook to {parts.hostname} has to be https; http is for a network of your own, with "
                "`allow_private = true`."
            )
        if len(self.secret) < _SHORTEST_SECRET:
            raise DefinitionError(
                f"The `secret` of a webhook has to have at least {_SHORTEST_SECRET} characters."
            )

    @property
    def host(self) -> str:
        """The host that alerts go to, which is all of the address that is shown."""
        return urlsplit(self.url).hostname or ""


_QUIET: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)")
MOST_DIGEST: Final = 1_000


class TargetSettings(Discreet, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table `[targets.NAME]`: somebody who is told of alerts by a messenger.

    `url` is an address of apprise, and a secret. In the hours `quiet`, like "23:00-07:00" in `output.tz`,
    nothing is sent; what happens meanwhile is one message when they end. More than `digest` alerts at once
    are one message. `lang` is the language of messages. With `direct` the messenger is reached without
    `network.proxy`.
    """

    url: str
    quiet: str = ""
    digest: int = 10
    lang: Literal["en", "zh"] = "en"
    direct: bool = False

    def __post_init__(self) -> None:
        """Refuse what nobody can be told by, without showing the address."""
        if "://" not in self.url:
            raise DefinitionError(
                "The `url` of a target is no address of apprise: write it like tgram://TOKEN/CHAT."
            )
        if not 1 <= self.digest <= MOST_DIGEST:
            raise DefinitionError(
                f"The `digest` of a target is {self.digest}: it has to be from 1 to {MOST_DIGEST}."
            )
        if self.quiet and (self.hours is None or self.hours[0] == self.hours[1]):
            raise DefinitionError(
                f"The quiet hours {self.quiet!r} of a target are none: write them like 23:00-07:00."
            )

    @property
    def hours(self) -> tuple[int, int] | None:
        """When quiet hours begin and end, in minutes of the day; None without any."""
        found = _QUIET.fullmatch(self.quiet)
        if found is None:
            return None
        begin, begin_minute, end, end_minute = (int(part) for part in found.groups())
        return begin * 60 + begin_minute, end * 60 + end_minute


# The numbers that alerts can be set to, from the least to the most.
_ALERT_LIMITS: Final[dict[str, tuple[float, float]]] = {"oldest": (1, 30 * 86_400)}


class AlertSettings(Discreet, frozen=True, kw_only=True):
    """Where alerts are written down, and which are sent.

    `path` is the file of the log: "auto" beside the store of the user's own, "off" for memory alone. Alerts
    of bars that ended more than `oldest` seconds ago are written down and not sent. `url` is how links to the
    board begin, by default where it is served.
    """

    path: str = "auto"
    oldest: float = 3_600.0
    url: str = ""

    def __post_init__(self) -> None:
        """Refuse what no alert can be kept by."""
        _check_limits(self, _ALERT_LIMITS, "alerts.")
        if self.url and urlsplit(self.url).scheme not in {"http", "https"}:
            raise DefinitionError("`alerts.url` is no address: write it like http://hub.lan:8787.")


class EvidenceSettings(Discreet, frozen=True, kw_only=True):
    """What live hits are held against: what came after scores like theirs on history.

    `calibration` is the file that `klinehub evidence calibrate` writes: "auto" beside the store of the
    user's own, "off" for none. Every `every` hours a running hub has it made anew of the last `days` that it
    keeps, by a program beside it; 0 is never.
    """

    calibration: str = "auto"
    every: float = 0.0
    days: int = 90

    def __post_init__(self) -> None:
        """Refuse what nothing can be calibrated by."""
        _check_limits(self, _EVIDENCE_LIMITS, "evidence.")


class HubSettings(Discreet, frozen=True, kw_only=True):
    """What a hub keeps and how it asks for it; every field has a config key of the same name.

    `exchange` is a market of Binance, or ccxt:NAME; without `rest_url`, `stream_url`, `weight_limit` and
    `quote` its own are used.
    `symbols` chooses just these; otherwise all trading perpetuals of `quote` with at least
    `min_turnover` in 24 hours, at most `most_symbols`. `bars` are kept closed per series, of which the
    warm-up brings `shallow`, and the rest follows while the hub is live. `store` is the folder in which
    closed bars are kept on disk: "auto" is the user's own, "off" none. There the newest `store_days` lie as
    they came, and with `history` all days before in Parquet; without it they are deleted. It may be the
    `postgresql://` address of a database instead, which keeps all days with `history`. History lies in that
    folder, or with `history_path` in another one or at an address as s3://bucket/prefix. `share` of the
    exchange's `weight_limit` a minute is spent, None lifts it; the part `audit` of the limit compares bars
    with REST again, for ever, and at most the part `forwarded` goes into what other programs ask. `native`
    streams every timeframe; without `streams` the hub is warmed up and then left as it is. `fallback_urls`
    are tried when `stream_url` stays silent, None derives them from it. With `choose` scans look only at
    those of the symbols that `rules` choose, and the file `record` keeps who was chosen when.
    `tickers` keeps the tickers and mark prices of all that is listed as they were told, for others.
    `marks` keeps mark price, index price and funding beside the klines; `open_interest` that of each symbol,
    asked for every so many seconds, 0 for never. `spot` follows the spot pairs of the symbols too, at
    `spot_rest_url` and `spot_stream_url`, with a budget of their own.
    `publish` is the `nats://` address of a server at which other hubs are told of the market, `subscribe` one
    by which this hub is fed in place of the exchange, and `cluster` one at which hubs share the market out
    among themselves, each symbol to so many `copies` of them. `hub_name` is its name among them, by default
    that of the machine and the process; `relay_prefix` begins all subjects.
    `panel_file` is where other programs read the panel, "off" for nowhere; without one `klinehub run` takes
    the file that `klinehub.attach` looks for, and a hub in a program shares nothing.
    """

    exchange: str = USDM.name
    rest_url: str = ""
    stream_url: str = ""
    fallback_urls: tuple[str, ...] | None = None
    timeframes: tuple[str, ...] = DEFAULT_TIMEFRAMES
    native: bool = False
    # Bots ask for 500 rows, the open one included; a light request brings one closed bar less.
    bars: int = 499
    shallow: int = 498
    symbols: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    quote: str = ""
    min_turnover: float = 0.0
    most_symbols: int | None = None
    tradifi: bool = True
    spare: int = 32
    batch: int = 64
    share: float | None = 0.8
    weight_limit: int = _OWN
    audit: float = 0.02
    forwarded: float = 0.2
    streams: bool = True
    streams_per_socket: int = 200
    timeout: float = 10.0
    scan_timeframe: str | None = None
    weights: Mapping[str, float] | None = None
    unavailable: tuple[str, ...] = ()
    min_score: float = 0.0
    choose: bool = False
    rules: Rules = Rules()
    record: str | None = None
    marks: bool = False
    tickers: bool = False
    open_interest: float = 0.0
    spot: bool = False
    store: str = "auto"
    store_days: int = 3
    history: bool = True
    history_path: str = ""
    panel_file: str = ""
    spot_rest_url: str = ""
    spot_stream_url: str = ""
    publish: str = ""
    subscribe: str = ""
    cluster: str = ""
    copies: int = 1
    hub_name: str = ""
    relay_prefix: str = "klinehub"

    @property
    def routes(self) -> tuple[str, ...]:
        """The addresses of the streams, in the order in which they are tried."""
        if self.fallback_urls is None:
            return binance.routes(self.stream_url)
        return (self.stream_url, *self.fallback_urls)

    @property
    def depth(self) -> int:
        """How many bars the warm-up asks for; the rest follows."""
        return min(self.bars, self.shallow)

    @property
    def beside(self) -> tuple[str, ...]:
        """The fields that are kept beside the klines."""
        told = (*(MARK_FIELDS if self.marks else ()), *((INTEREST_FIELD,) if self.open_interest else ()))
        return (*told, *(PAIR_FIELDS if self.spot else ()))

    @property
    def counted_by(self) -> str:
        """Whose counter of weight requests go to: that of USDⓈ-M counts those to COIN-M too."""
        return "{}:{}".format(*endpoint(USDM.rest_url if self.rest_url == COINM.rest_url else self.rest_url))

    @property
    def of_spot(self) -> "HubSettings":
        """The settings of the hub that follows the spot pairs of this one's symbols."""
        return self.of_market(
            SPOT.name, quote=self.quote, rest_url=self.spot_rest_url, stream_url=self.spot_stream_url
        )

    def of_market(self, exchange: str, **own: object) -> "HubSettings":
        """Give the settings of a hub that follows another market beside this one, with what is its *own*."""
        same = {name: getattr(self, name) for name in _SHARED}
        same["bars"] = min(self.bars, venue_of(exchange).most_rows - 1)
        same["tickers"] = self.tickers and venue_of(exchange).days is not None
        return msgspec.convert({**same, **own, "exchange": exchange}, HubSettings)

    def keeping(self, fields: Collection[str]) -> "HubSettings":
        """Give these settings with all switched on that keeps *fields* beside the klines."""
        marks = self.marks or any(name in MARK_FIELDS for name in fields)
        every = self.open_interest or (USUAL_POLL if INTEREST_FIELD in fields else 0.0)
        spot = self.spot or any(name in PAIR_FIELDS for name in fields)
        return msgspec.structs.replace(self, marks=marks, open_interest=every, spot=spot)

    def __post_init__(self) -> None:
        """Fill in what the exchange says, and refuse numbers that no hub can be run with."""
        venue = venue_of(self.exchange)
        for name in ("rest_url", "stream_url", "weight_limit", "quote"):
            if getattr(self, name) in {"", _OWN}:
                msgspec.structs.force_setattr(self, name, getattr(venue, name))
        for name in ("spot_rest_url", "spot_stream_url"):
            if not getattr(self, name):
                msgspec.structs.force_setattr(self, name, getattr(SPOT, name.removeprefix("spot_")))
        _check_limits(self, LIMITS)
        if self.fallback_urls is None and self.stream_url == venue.stream_url:
            msgspec.structs.force_setattr(self, "fallback_urls", venue.routes)
        if venue is not USDM and (self.marks or self.open_interest or self.spot):
            raise DefinitionError(
                f"{venue.name} has no marks, no open interest and no spot beside it: leave these out."
            )
        if sum(map(bool, (self.publish, self.subscribe, self.cluster))) > 1:
            raise DefinitionError(
                "Set one of `relay.publish`, `relay.subscribe` and `relay.cluster`; the last publishes too."
            )
        if self.tickers and venue.days is None:
            raise DefinitionError(f"{venue.name} has no tickers to keep: leave `market.tickers` out.")
        if self.bars >= venue.most_rows:
            raise DefinitionError(f"`bars` is {self.bars}: {venue.name} gives at most {venue.most_rows - 1}.")
