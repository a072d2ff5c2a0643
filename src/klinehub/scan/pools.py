"""The pools: which symbols of a market are worth a scan, and why.

1. Candidates are what trades: perpetuals of the quote asset and pins, without the exclusions, ranked by
   turnover.
2. The elite pool, once a day: turnover, age and stability. The overlay pool, once an hour: surges of volume,
   big movers and fresh listings. Both on the exchange's UTC grid, so that two hubs choose at one time.
3. A member of a pool stays while it meets the thresholds to keep, which are easier than those to come.
4. The universe is the pins, the overlay and the elite in this order, cut to the most symbols wanted.
5. Each refresh gives the universe and what changed in it; nothing is remembered but the last universe.

Figures are those of a 24 h ticker and of closed hourly klines; there is no clock and no I/O.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import asdict, replace

from klinehub.domain.listing import Listing
from klinehub.domain.ticker import Ticker
from klinehub.domain.timeframe import DAY
from klinehub.domain.universe_rules import Rules
from klinehub.errors import DataError, DefinitionError, UnknownName
from klinehub.panel.memory import F64
from klinehub.scan.universe_history import Change

PIN: Final = "pin"
ELITE: Final = "elite"
OVERLAY: Final = "overlay"
# A listing counts as this old at least, so that one of this minute is not infinitely fresh.
_YOUNGEST: Final = 1 / 24


class Market(NamedTuple):
    """What a refresh looks at: listings and tickers by symbol, and turnover per closed hour.

    *hours* has for each symbol the quote volumes of the last closed hours, oldest first and all up to the
    same hour, NaN where a bar is missing; `Rules.hours_read` says how many are read. A symbol without any
    is judged by its ticker alone.
    """

    listings: Mapping[str, Listing]
    tickers: Mapping[str, Ticker]
    hours: Mapping[str, Sequence[float] | F64] = {}
    quote: str = "USDT"
    tradifi: bool = False
    exclude: Collection[str] = frozenset()


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol of the universe: the pools it is in, why, and the figures; None is what nobody can know.

    `rank` is by turnover among all that could be chosen, from 1. `stability` is the share of days on which
    the symbol was liquid; the surges are times what is typical.
    """

    symbol: str
    pools: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    rank: int
    turnover: float
    change_percent: float | None
    age_days: float | None
    stability: float
    day_surge: float | None
    hour_surge: float | None


class _Activity(NamedTuple):
    """What the figures of `Member` of the same names are."""

    stability: float
    day_surge: float | None
    hour_surge: float | None


class Pool(msgspec.Struct, frozen=True):
    """A pool as last chosen: exchange time in ms, and its members, strongest first, with their reasons."""

    time: int
    members: dict[str, str]


class Merged(msgspec.Struct, frozen=True):
    """The universe at a time: symbols by turnover, what is known of each, and the pools behind it."""

    time: int
    symbols: tuple[str, ...]
    metadata: dict[str, Member]
    pools: dict[str, Pool]

    @property
    def elite(self) -> tuple[str, ...]:
        """The symbols that are in the elite pool, by turnover."""
        return tuple(name for name in self.symbols if ELITE in self.metadata[name].pools)

    @property
    def overlay(self) -> tuple[str, ...]:
        """The symbols that are in the overlay pool, by turnover."""
        return tuple(name for name in self.symbols if OVERLAY in self.metadata[name].pools)

    def as_dict(self) -> dict[str, Any]:
        """Give the universe as plain lists and mappings: symbols, metadata, elite, overlay and time."""
        return {
            "symbols": list(self.symbols),
            "metadata": {
                name: {**asdict(item), "pools": list(item.pools), "why": list(item.why)}
                for name, item in self.metadata.items()
            },
            "elite": list(self.elite),
            "overlay": list(self.overlay),
            "time": self.time,
        }


class Refresh(NamedTuple):
    """A refresh's outcome: the universe from now on, and what changed in it."""

    merged: Merged
    changes: tuple[Change, ...]


def due(rules: Rules, before: Merged | None, now: int) -> tuple[str, ...]:
    """Name the pools whose time has come at exchange time *now* (ms); at first both."""
    periods = {ELITE: rules.elite_period, OVERLAY: rules.overlay_period}
    return tuple(
        name
        for name, period in periods.items()
        if before is None or now // period > before.pools[name].time // period
    )


def next_due(rules: Rules, before: Merged) -> int:
    """Give the exchange time in ms at which the next pool's time comes."""
    periods = {ELITE: rules.elite_period, OVERLAY: rules.overlay_period}
    return min((before.pools[name].time // period + 1) * period for name, period in periods.items())


def refresh(rules: Rules, market: Market, now: int, before: Merged | None = None) -> Refresh:
    """Choose the pools that are due at exchange time *now* (ms) and merge them anew.

    A symbol that trades no more leaves at once, due or not; time never runs backwards. Raises DataError for
    a market without listings or tickers, UnknownName for a pin that was never listed, and DefinitionError
    when no symbol is left: then the universe stays as it was.
    """
    time = now if before is None else max(now, before.time)
    _check(rules, market, time, first=before is None)
    figures = _figures(rules, market, time)
    ready = due(rules, before, time)
    pools: dict[str, Pool] = {}
    said: dict[str, list[str]] = {}
    for name, choose in ((ELITE, _choose_elite), (OVERLAY, _choose_overlay)):
        last = {} if before is None else before.pools[name].members
        if name in ready:
            chosen, refused = choose(rules, figures, last)
            pools[name] = Pool(time, chosen)
            for symbol in last:
                if symbol in refused:
                    said.setdefault(symbol, []).append(refused[symbol])
        elif before is not None:
            pools[name] = before.pools[name]
    merged = _merge(rules, figures, pools, before, time)
    if not merged.symbols:
        raise DefinitionError(_nothing_left(rules, market))
    return Refresh(merged, _changes(rules, market, before, merged, said))


def everyone(rules: Rules, market: Market, now: int, *, named: bool) -> Merged:
    """Give every symbol of a market as a universe without pools; those that were *named* are its pins."""
    tickers = {name: _recent(market.tickers.get(name), now) for name in market.listings}
    order = sorted(market.listings, key=lambda name: (-_turnover(tickers[name]), name))
    activity = _activity(rules, market, [(name, _turnover(tickers[name])) for name in order])
    members = {
        name: replace(
            _member(market.listings[name], tickers[name], rank, now, own),
            pools=(PIN,) if named else (),
            why=("asked for by name" if named else "every symbol that is followed",),
        )
        for rank, (name, own) in enumerate(zip(order, activity, strict=True), 1)
    }
    return Merged(now, tuple(members), members, {})


def _check(rules: Rules, market: Market, now: int, *, first: bool) -> None:
    """Refuse a market that cannot be judged, and at first pins that do not exist."""
    if not market.listings:
        raise DataError("The exchange's listing holds no symbols: the universe is left as it was.")
    if not any(_recent(ticker, now) for ticker in market.tickers.values()):
        raise DataError("The tickers tell of no symbol's last 24 hours: the universe is left as it was.")
    for symbol in rules.pins if first else ():
        if symbol not in market.listings:
            raise UnknownName("symbol", symbol, market.listings)


def _nothing_left(rules: Rules, market: Market) -> str:
    return (
        f"No trading perpetual of {market.quote} has a turnover of {rules.elite_turnover:,.0f} and an age of "
        f"{rules.elite_age_days:g} days, and none surges, moves or is fresh: lower "
        "`universe.elite_turnover`, pin symbols or choose another `quote`."
    )


def _figures(rules: Rules, market: Market, now: int) -> dict[str, Member]:
    """Give what is known of every candidate, largest turnover first."""
    pins = frozenset(rules.pins)
    items = [
        item
        for item in market.listings.values()
        if item.trading and item.symbol not in market.exclude
        if item.symbol in pins or item.fits(market.quote, tradifi=market.tradifi)
    ]
    tickers = {item.symbol: _recent(market.tickers.get(item.symbol), now) for item in items}
    items.sort(key=lambda item: (-_turnover(tickers[item.symbol]), item.symbol))
    activity = _activity(rules, market, [(item.symbol, _turnover(tickers[item.symbol])) for item in items])
    return {
        item.symbol: _member(item, tickers[item.symbol], rank, now, own)
        for rank, (item, own) in enumerate(zip(items, activity, strict=True), 1)
    }


def _recent(ticker: Ticker | None, now: int) -> Ticker | None:
    """Give a ticker that tells of some of the 24 hours before *now*, else None."""
    return ticker if ticker is not None and ticker.close_time > now - DAY else None


def _turnover(ticker: Ticker | None) -> float:
    """Give a turnover that can be compared: 0 where none was told."""
    return ticker.quote_volume if ticker is not None and math.isfinite(ticker.quote_volume) else 0.0


def _member(item: Listing, ticker: Ticker | None, rank: int, now: int, activity: _Activity) -> Member:
    """Put one candidate's figures together."""
    change = math.nan if ticker is None else ticker.change_percent
    return Member(
        symbol=item.symbol,
        rank=rank,
        turnover=_turnover(ticker),
        change_percent=change if math.isfinite(change) else None,
        age_days=max(0, now - item.onboard_time) / DAY if item.onboard_time > 0 else None,
        stability=activity.stability,
        day_surge=activity.day_surge,
        hour_surge=activity.hour_surge,
    )


def _activity(rules: Rules, market: Market, turnovers: Sequence[tuple[str, float]]) -> list[_Activity]:
    """Hold the turnover of each symbol's 24 hours, and its busiest recent hour, against what was before."""
    names, turnover = [name for name, _ in turnovers], np.array([amount for _, amount in turnovers])
    hours = _aligned(names, market.hours, rules.hours_read)
    # The newest 24 hours are the ticker's, which is known without any kline.
    days = hours.reshape(len(names), hours.shape[1] // 24, 24).sum(axis=2)[:, -2::-1]
    recent, earlier = hours[:, -rules.hour_surge_recent :], hours[:, : -rules.hour_surge_recent]
    # fmax gives NaN only where none of the hours is known.
    busiest = np.fmax.reduce(recent, axis=1)
    columns = (
        _stability(turnover, days[:, : rules.stable_days - 1], rules.elite_turnover_keep),
        _times(turnover, days[:, : rules.day_surge_days], rules.known_share),
        _times(busiest, earlier[:, -rules.hour_surge_hours :], rules.known_share),
    )
    return [_Activity(*own) for own in zip(*columns, strict=True)]


def _aligned(names: Sequence[str], hours: Mapping[str, Sequence[float] | F64], most: int) -> F64:
    """Lay the last *most* hours of each symbol side by side, whole days [symbols, hours], NaN before them."""
    out = np.full((len(names), math.ceil(most / 24) * 24), np.nan)
    for row, name in enumerate(names):
        own = hours.get(name, ())[-out.shape[1] :]
        if len(own):
            out[row, -len(own) :] = own
    return out


def _stability(turnover: F64, days: F64, liquid: float) -> list[float]:
    """Give the share of days on which each symbol was liquid: the ticker's, and of those before the known."""
    known = 1 + np.count_nonzero(~np.isnan(days), axis=1)
    fine = np.count_nonzero(turnover[:, None] >= liquid, axis=1) + np.count_nonzero(days >= liquid, axis=1)
    return [a / b for a, b in zip(fine.tolist(), known.tolist(), strict=True)]


def _times(amounts: F64, others: F64, known_share: float) -> list[float | None]:
    """Give how many times the typical one of *others* each amount is; None while too few are known."""
    # NaN sorts last, so that the median of what is known is found by its count.
    ordered = np.sort(others, axis=1)
    known = np.count_nonzero(~np.isnan(ordered), axis=1)
    enough = (known > 0) & (known >= known_share * others.shape[1])
    rows, middle = np.arange(known.size), np.maximum(known - 1, 0)
    typical = (ordered[rows, middle // 2] + ordered[rows, (middle + 1) // 2]) / 2
    told = enough & ~np.isnan(amounts) & (typical > 0)
    return [
        amount / usual if said else None
        for amount, usual, said in zip(amounts.tolist(), typical.tolist(), told.tolist(), strict=True)
    ]


_Choice = tuple[dict[str, str], dict[str, str]]


def _choose_elite(rules: Rules, figures: Mapping[str, Member], members: Collection[str]) -> _Choice:
    """Give the elite pool by turnover, and why each other candidate is not in it."""
    chosen, refused = {}, {}
    for symbol, item in figures.items():
        against = _against_elite(rules, item, stays=symbol in members)
        if against:
            refused[symbol] = f"elite: {against}"
        else:
            chosen[symbol] = (
                f"elite: turnover {item.turnover:,.0f}, liquid on {item.stability:.1%} of its days"
            )
    return chosen, refused


def _against_elite(rules: Rules, item: Member, *, stays: bool) -> str:
    """Say what keeps a symbol out of the elite pool, nothing when it fits."""
    turnover = rules.elite_turnover_keep if stays else rules.elite_turnover
    share = rules.stable_share_keep if stays else rules.stable_share
    if item.turnover < turnover:
        return f"turnover {item.turnover:,.0f} is below {turnover:,.0f}"
    if item.age_days is not None and item.age_days < rules.elite_age_days:
        return f"{item.age_days:.1f} days old, less than {rules.elite_age_days:g}"
    if item.stability < share:
        return f"liquid on {item.stability:.1%} of its days, less than {share:.1%}"
    return ""


def _choose_overlay(rules: Rules, figures: Mapping[str, Member], members: Collection[str]) -> _Choice:
    """Give the overlay pool, strongest first, and why each other candidate is not in it."""
    strength, reasons, refused = {}, {}, {}
    for symbol, item in figures.items():
        stays = symbol in members
        least = rules.overlay_turnover_keep if stays else rules.overlay_turnover
        found = _signs(rules, item, stays=stays)
        if item.turnover < least:
            refused[symbol] = f"overlay: turnover {item.turnover:,.0f} is below {least:,.0f}"
        elif not found:
            refused[symbol] = "overlay: no surge, no big move, not fresh"
        else:
            strength[symbol] = max(found.values())
            reasons[symbol] = f"overlay: {', '.join(found)}"
    ordered = sorted(strength, key=lambda symbol: (-strength[symbol], symbol))
    most = rules.overlay_most if rules.most is None else min(rules.overlay_most, rules.most // 2)
    kept = _cut(ordered, members, most, rules.cut_buffer)
    refused |= {symbol: f"overlay: {most} others are stronger" for symbol in ordered if symbol not in kept}
    return {symbol: reasons[symbol] for symbol in ordered if symbol in kept}, refused


def _signs(rules: Rules, item: Member, *, stays: bool) -> dict[str, float]:
    """Give each reason to look at a symbol now, with how many times its threshold it is."""
    found = {}
    day, day_least = item.day_surge, rules.day_surge_keep if stays else rules.day_surge
    if day is not None and day >= day_least:
        found[f"{day:.1f} times its typical day"] = day / rules.day_surge
    hour, hour_least = item.hour_surge, rules.hour_surge_keep if stays else rules.hour_surge
    if hour is not None and hour >= hour_least:
        found[f"{hour:.1f} times its typical hour"] = hour / rules.hour_surge
    move, move_least = item.change_percent, rules.move_percent_keep if stays else rules.move_percent
    if move is not None and abs(move) >= move_least:
        found[f"{move:+.1f} % in 24 h"] = abs(move) / max(rules.move_percent, 1.0)
    if item.age_days is not None and rules.fresh_days > 0 and item.age_days <= rules.fresh_days:
        found[f"{item.age_days:.1f} days old"] = rules.fresh_days / max(item.age_days, _YOUNGEST)
    return found


def _cut(ordered: Sequence[str], members: Collection[str], most: int, buffer: int) -> frozenset[str]:
    """Choose *most* of the symbols, best first, so that one at the cut does not come and go.

    The best, but for the last *buffer* places, are in; those places go to *members* up to *buffer* places
    behind the cut, then to whoever comes next.
    """
    if len(ordered) <= most:
        return frozenset(ordered)
    sure = ordered[: max(0, most - buffer)]
    near = ordered[len(sure) : most + buffer]
    stay = [symbol for symbol in near if symbol in members]
    come = [symbol for symbol in ordered[len(sure) :] if symbol not in stay]
    return frozenset(islice((*sure, *stay, *come), most))


def _merge(
    rules: Rules, figures: Mapping[str, Member], pools: dict[str, Pool], before: Merged | None, time: int
) -> Merged:
    """Join pins and pools to one universe of at most the wanted size, by turnover."""
    pins = [symbol for symbol in dict.fromkeys(rules.pins) if symbol in figures]
    by_turnover = [symbol for symbol in figures if symbol in pools[ELITE].members]
    rest = [
        symbol
        for symbol in dict.fromkeys((*pools[OVERLAY].members, *by_turnover))
        if symbol in figures and symbol not in pins
    ]
    if rules.most is None:
        chosen = {*pins, *rest}
    else:
        last = () if before is None else before.metadata
        chosen = {*pins, *_cut(rest, last, rules.most - len(pins), rules.cut_buffer)}
    metadata = {
        symbol: _labelled(item, pools, pinned=symbol in pins)
        for symbol, item in figures.items()
        if symbol in chosen
    }
    return Merged(time, tuple(metadata), metadata, pools)


def _labelled(item: Member, pools: Mapping[str, Pool], *, pinned: bool) -> Member:
    """Say which pools a symbol is in, and why."""
    found = {name: pool.members[item.symbol] for name, pool in pools.items() if item.symbol in pool.members}
    if pinned:
        found = {PIN: "pinned", **found}
    return replace(item, pools=tuple(found), why=tuple(found.values()))


def _changes(
    rules: Rules,
    market: Market,
    before: Merged | None,
    merged: Merged,
    said: Mapping[str, Sequence[str]],
) -> tuple[Change, ...]:
    """Compare two universes: who left, then who came, both by name."""
    old = frozenset(() if before is None else before.symbols)
    new = frozenset(merged.symbols)
    left = [
        Change(merged.time, symbol, entered=False, why=_why_out(rules, market, merged, symbol, said))
        for symbol in sorted(old - new)
    ]
    come = [
        Change(merged.time, symbol, entered=True, why="; ".join(merged.metadata[symbol].why))
        for symbol in sorted(new - old)
    ]
    return (*left, *come)


def _why_out(
    rules: Rules, market: Market, merged: Merged, symbol: str, said: Mapping[str, Sequence[str]]
) -> str:
    """Say why a symbol left."""
    item = market.listings.get(symbol)
    if item is None:
        return "no longer listed"
    if not item.trading:
        return f"status {item.status}"
    if symbol in market.exclude:
        return "excluded"
    if not item.fits(market.quote, tradifi=market.tradifi):
        return f"no perpetual of {market.quote}"
    if any(symbol in pool.members for pool in merged.pools.values()):
        return f"cut: only {rules.most} symbols fit"
    return "; ".join(said.get(symbol, ())) or "no longer pinned"
