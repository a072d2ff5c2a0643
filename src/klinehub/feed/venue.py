"""Venues: all in which the markets of an exchange differ for a feed, as one value each."""

from typing import Final, NamedTuple

from klinehub.errors import UnknownName
from klinehub.feed import binance
from klinehub.feed.liveness import BY_PRICES, Patience


class Venue(NamedTuple):
    """One market of an exchange: addresses, paths, what requests weigh and how liveness can be proved.

    *klines_weights* are the most rows of a klines request and what that weighs, ascending. *prices* is where
    REST tells when each symbol last traded, of all symbols at once, and *news* the stream that tells of
    listings; None where there is none. *days* is the stream of all tickers, *marks* that of all mark prices.
    *quote* is the asset that most of it is priced in; *routes* are tried when the streams stay silent. One
    that counts *from_end* gives the last rows before the end of a range, others the first from its start.
    *lacks* are the fields of klines that are not told. Where streams tell no closes REST alone proves them,
    and *grace* is how long (ms of real time) a close may take then; 0 where they do.
    """

    name: str
    quote: str
    rest_url: str
    stream_url: str
    weight_limit: int
    ping: str
    time: str
    info: str
    info_weight: int
    klines: str
    klines_weights: tuple[tuple[int, int], ...]
    tickers: str
    tickers_weight: int
    prices: str | None
    prices_weight: int
    news: str | None
    days: str | None
    marks: str | None
    patience: Patience
    routes: tuple[str, ...] | None = None
    from_end: bool = False
    lacks: frozenset[str] = frozenset()
    grace: int = 0

    @property
    def most_rows(self) -> int:
        """The most rows of one klines request."""
        return self.klines_weights[-1][0]

    @property
    def speaks(self) -> str:
        """The name of the market whose paths these are: other programs ask for them by those."""
        return next(one.name for one in VENUES.values() if one.klines == self.klines)

    def klines_weight(self, limit: int) -> int:
        """Give the documented weight of a klines request for *limit* rows."""
        return binance.klines_weight(limit, self.klines_weights)


USDM: Final = Venue(
    name="binance-usdm",
    quote="USDT",
    rest_url=binance.REST_URL,
    stream_url=binance.STREAM_URL,
    weight_limit=binance.WEIGHT_LIMIT,
    ping="/fapi/v1/ping",
    time=binance.TIME,
    info=binance.EXCHANGE_INFO,
    info_weight=1,
    klines=binance.KLINES,
    klines_weights=binance.KLINES_WEIGHTS,
    tickers=binance.TICKER_24H,
    tickers_weight=binance.TICKER_24H_WEIGHT,
    prices=binance.PRICES,
    prices_weight=binance.PRICES_WEIGHT,
    news=binance.CONTRACT_INFO,
    days="!ticker@arr",
    marks="!markPrice@arr@1s",
    patience=BY_PRICES,
)
# Spot tells no time of the last trade but in tickers of weight 80. It tells the end of every minute, of one
# without trades too (n is 0): who has told the last end is fresh, and who has not is asked about, one by one.
SPOT: Final = Venue(
    name="binance-spot",
    quote="USDT",
    rest_url="https://api.binance.com",
    stream_url="wss://stream.binance.com:9443/stream",
    weight_limit=6_000,
    ping="/api/v3/ping",
    time="/api/v3/time",
    info="/api/v3/exchangeInfo",
    info_weight=20,
    klines="/api/v3/klines",
    klines_weights=((1_000, 2),),
    tickers="/api/v3/ticker/24hr",
    tickers_weight=80,
    prices=None,
    prices_weight=0,
    news=None,
    # `!ticker@arr` was retired on spot in 2026.
    days="!miniTicker@arr",
    marks=None,
    patience=Patience(65_000, 75_000, 65_000, tells_within=3_500, by_klines=True),
)
# Contracts of 10 or 100 dollars that are margined in their coin. Their tickers tell no turnover, so that they
# are not kept for others. Whether its streams have a route too is told both ways.
COINM: Final = Venue(
    name="binance-coinm",
    quote="USD",
    rest_url="https://dapi.binance.com",
    stream_url="wss://dstream.binance.com/stream",
    weight_limit=binance.WEIGHT_LIMIT,
    ping="/dapi/v1/ping",
    time="/dapi/v1/time",
    info="/dapi/v1/exchangeInfo",
    info_weight=1,
    klines="/dapi/v1/klines",
    klines_weights=binance.KLINES_WEIGHTS,
    tickers="/dapi/v1/ticker/24hr",
    tickers_weight=40,
    prices="/dapi/v1/ticker/price",
    prices_weight=2,
    news=binance.CONTRACT_INFO,
    days=None,
    marks=None,
    patience=BY_PRICES,
    routes=("wss://dstream.binance.com/market/stream",),
    from_end=True,
)
VENUES: Final = {venue.name: venue for venue in (USDM, SPOT, COINM)}
# The names of exchanges that ccxt asks, as ccxt:bybit and ccxt:bybit:spot.
CCXT: Final = "ccxt:"
_KINDS: Final = ("swap", "spot")
# Streams tell prices when there is trade, some of them seconds later; REST tells of every bar anew.
_CCXT_PATIENCE: Final = Patience(65_000, 75_000, 65_000, tells_within=15_000, by_klines=True)
_CCXT_GRACE: Final = 15_000


def _through_ccxt(name: str) -> Venue:
    """Give what is the same for all exchanges behind ccxt; their weight is told when they are asked."""
    exchange, _, kind = name.removeprefix(CCXT).partition(":")
    if kind and kind not in _KINDS:
        raise UnknownName("exchange", name, [f"{CCXT}{exchange}:{one}" for one in _KINDS])
    return USDM._replace(
        name=name,
        rest_url=f"http://{exchange}.ccxt",
        stream_url=f"ws://{exchange}.ccxt/stream",
        klines_weights=((1_000, 1),),
        tickers_weight=1,
        prices=None,
        prices_weight=0,
        news=None,
        days="!miniTicker@arr",
        marks=None,
        patience=_CCXT_PATIENCE,
        lacks=frozenset({"quote_volume", "trades", "taker_base", "taker_quote"}),
        grace=_CCXT_GRACE,
    )


def venue_of(name: str) -> Venue:
    """Give a venue by its name; raises UnknownName for one that is not there."""
    if name.startswith(CCXT) and name.removeprefix(CCXT).partition(":")[0].isidentifier():
        return _through_ccxt(name)
    if name not in VENUES:
        raise UnknownName("exchange", name, VENUES)
    return VENUES[name]
