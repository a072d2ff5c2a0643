"""Hello: what a page is told first: which hub this is, ways to look at its market, and its rows."""

from functools import cache
from importlib.metadata import version
from typing import Final, NamedTuple

from klinehub.domain.listing import NO_DELIVERY, Listing
from klinehub.domain.timeframe import in_order
from klinehub.factors.expr import terms
from klinehub.factors.stock import stock_factor
from klinehub.hub import Hub
from klinehub.scan.presets import PRESETS, texts
from klinehub.scan.scanner import DEFAULT
from klinehub.scan.screen import Screen
from klinehub.serve.board.messages import EvidenceTold, Hello, PartTold, Preset, Symbols, SymbolTold
from klinehub.serve.signals import Signals

# What is shown beside the score at first, and what of it on the next larger timeframe.
FIRST_LOOK: Final = ("trend", "rsi", "adx", "volume_surge", "atr_percent", "donchian")
LARGER_LOOK: Final = ("trend", "rsi")


class About(NamedTuple):
    """What a page is told beside what the hub itself knows: the zone of times, and where it is served."""

    tz: str = "UTC"
    url: str = ""


def hello(signals: Signals, about: About) -> Hello:
    """Say which hub this is."""
    hub = signals.hub
    base = hub.scanning.base()
    return Hello(
        version=_version(),
        exchange=signals.exchange,
        time=hub.now(),
        rate=hub.clock.rate,
        tz=about.tz,
        url=about.url,
        timeframes=[frame.name for frame in hub.timeframes],
        base=hub.timeframes[0].name,
        default=hub.scanning.default.timeframe,
        presets=[_scored(hub), *map(_own, signals.own.values()), *map(_preset, PRESETS)],
        parts=[PartTold(part.name, part.weight, repr(part.expr)) for part in base.score],
        can={"alerts": True, "history": hub.shelf.keeping is not None},
    )


@cache
def _version() -> str:
    """Give klinehub's own version, which is read from disk."""
    return version("klinehub")


def symbols(hub: Hub) -> Symbols:
    """List the rows."""
    names = hub.ring.symbols
    return Symbols(len(names), [_symbol(name, hub.listings.get(name)) for name in names])


def evidence(hub: Hub) -> EvidenceTold:
    """Say what came after scores on history: each timeframe has its own score."""
    known, scanning = hub.scanning.calibrations, hub.scanning
    found = {frame.name: known.of(scanning.base(frame.name), frame.name) for frame in hub.timeframes}
    return EvidenceTold({name: one for name, one in found.items() if one is not None})


def _symbol(name: str, listing: Listing | None) -> SymbolTold:
    if listing is None:
        return SymbolTold(name, name, "", "", "", "", "", 0, 0, 8)
    return SymbolTold(
        symbol=name,
        pair=listing.unified,
        base=listing.base_asset,
        quote=listing.quote_asset,
        status=listing.status,
        contract_type=listing.contract_type,
        underlying_type=listing.underlying_type,
        onboard_time=listing.onboard_time,
        delivery_time=0 if listing.delivery_time == NO_DELIVERY else listing.delivery_time,
        price_decimals=listing.price_decimals,
    )


def _scored(hub: Hub) -> Preset:
    """Give the look of who comes for the first time: the score, and what most people ask for."""
    main = hub.scanning.default.timeframe
    frames = [frame.name for frame in in_order(tuple(frame.name for frame in hub.timeframes))]
    larger = frames[frames.index(main) + 1 : frames.index(main) + 2]
    first = [name for name in FIRST_LOOK if not _read(name) & hub.ring.lacks]
    columns = [*first, *(f"{name}_{frame}" for frame in larger for name in LARGER_LOOK)]
    return Preset(DEFAULT, "score", "", columns, None)


def _read(name: str) -> set[str]:
    """Name the fields that a factor reads."""
    return {read for term in terms(stock_factor(name)()) for read in term.reads}


def _own(screen: Screen) -> Preset:
    where = "" if screen.where is None else repr(screen.where)
    order = None if screen.order_by is None else repr(screen.order_by)
    return Preset(screen.name, "own", where, [repr(one) for one in screen.columns.values()], order)


def _preset(name: str) -> Preset:
    where, columns, order = texts(name)
    return Preset(name, "preset", where, columns, order)
