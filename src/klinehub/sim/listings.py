"""What a synthetic exchange lists, and when: the symbols asked for and all that stands beside them."""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple
from zlib import crc32

from klinehub.domain.listing import NO_DELIVERY, Listing
from klinehub.domain.timeframe import DAY
from klinehub.sim.dice import key, uniform
from klinehub.sim.hours import HOUR_MS
from klinehub.sim.names import Coin, coins, decimals_of, made_up

_FIRST_LISTING: Final = 1_569_398_400_000  # 2019-09-25 08:00 UTC
_LAST_LISTING: Final = 1_767_225_600_000  # 2026-01-01 00:00 UTC
# Every symbol that trades when the run starts has at least this much history.
_LEAST_HISTORY: Final = 60 * DAY
# Comings and goings are planned for this long after the start.
_PLANNED_DAYS: Final = 30
_ANNOUNCED: Final = HOUR_MS
# The largest symbols stay.
_SAFE: Final = 20
# Sorts after any number of a role.
_LAST: Final = 2**62
# One symbol for each further status, so that a client meets them all.
_RETIRED: Final = (
    "SETTLING",
    "PRE_SETTLE",
    "CLOSE",
    "PRE_DELIVERING",
    "DELIVERING",
    "DELIVERED",
    "TRADING_HALT",
)


class Role(NamedTuple):
    """One symbol's part in the market; times are ms UTC."""

    symbol: str
    coin: Coin
    onboard: int
    end: int | None = None
    status: str = "TRADING"
    quote: str = "USDT"
    contract_type: str = "PERPETUAL"
    delivery: int = NO_DELIVERY
    premium: float = 1.0
    share: float = 1.0


class Plan(NamedTuple):
    """All symbols that ever have bars, those that never have any, and the times at which a status changes."""

    roles: tuple[Role, ...]
    pending: tuple[Role, ...]
    moments: tuple[tuple[int, int], ...]

    def listings(self, now: int) -> tuple[Listing, ...]:
        """Give what is listed at *now*: newcomers appear an hour before they trade."""
        known = (role for role in self.roles if role.onboard - _ANNOUNCED <= now)
        return tuple(_listing(role, now) for role in (*known, *self.pending))

    def changes(self, after: int, until: int) -> list[tuple[int, int]]:
        """Give (time, role) of the status changes in (after, until]."""
        return list(
            self.moments[
                bisect_right(self.moments, (after, _LAST)) : bisect_right(self.moments, (until, _LAST))
            ]
        )

    def listing(self, role: int, now: int) -> Listing:
        """Give one symbol's listing as it is at *now*."""
        return _listing(self.roles[role], now)


def plan(symbols: int, seed: int, start: int, churn_hours: int) -> Plan:
    """Plan a market with *symbols* trading USDT perpetuals at *start*."""
    root = key(seed, 99)
    trading = [_resident(coin, root, start) for coin in coins(symbols)]
    names = {role.symbol for role in trading}
    fresh = islice((base for base in made_up() if f"{base}USDT" not in names), symbols, None)
    trading, newcomers = _churn(trading, fresh, start, churn_hours, root)
    beside = [*_quarterlies(trading[0].coin, start), *_retired(fresh, root, start), _other_quote(trading[0])]
    pending = (
        Role(
            "BTCSTUSDT", Coin("BTCST", 1.0, 1e5), start + 400 * DAY, None, "PENDING_TRADING", contract_type=""
        ),
    )
    roles = (*trading, *beside, *newcomers)
    return Plan(roles, pending, tuple(sorted(_moments(roles, start))))


def _resident(coin: Coin, root: int, start: int) -> Role:
    """List a coin some years ago, in any case long enough before *start*."""
    own = key(root, crc32(coin.base.encode()))
    share = uniform(own, 1) ** 0.7 if coin.base not in {"BTC", "ETH"} else 0.0
    onboard = int(_FIRST_LISTING + share * (_LAST_LISTING - _FIRST_LISTING))
    if onboard > start - _LEAST_HISTORY:
        month = start - start % (30 * DAY)
        onboard = int(month - _LEAST_HISTORY - share * 600 * DAY)
    return Role(f"{coin.base}USDT", coin, onboard - onboard % HOUR_MS, contract_type=coin.contract_type)


def _churn(
    trading: list[Role],
    names: Iterable[str],
    start: int,
    hours: int,
    root: int,
) -> tuple[list[Role], list[Role]]:
    """Plan one listing and one delisting every *hours* from the hour after *start*."""
    if hours <= 0:
        return trading, []
    first = start - start % HOUR_MS + HOUR_MS
    newcomers, leaving = [], dict(enumerate(trading))
    open_to_leave = [i for i in range(_SAFE, len(trading)) if trading[i].contract_type == "PERPETUAL"]
    for n in range(_PLANNED_DAYS * 24 // hours):
        time = first + n * hours * HOUR_MS
        base = next(iter(names))
        newcomers.append(Role(f"{base}USDT", Coin(base, 10.0 ** (2 * uniform(root, n) - 1), 2e7), time))
        if open_to_leave:
            i = open_to_leave.pop(int(uniform(root, -n - 1) * len(open_to_leave)))
            leaving[i] = trading[i]._replace(end=time + HOUR_MS, delivery=time + HOUR_MS)
    return list(leaving.values()), newcomers


def _quarterlies(coin: Coin, start: int) -> list[Role]:
    """List the current and the next quarter of the largest coin, which settle on a Friday at 8:00."""
    friday = 8 * HOUR_MS + DAY  # 1970-01-02, a Friday
    found = []
    for kind, ahead, premium in (("CURRENT_QUARTER", 45, 1.004), ("NEXT_QUARTER", 136, 1.011)):
        weeks = -(-(start - start % (30 * DAY) + ahead * DAY - friday) // (7 * DAY))
        delivery = friday + weeks * 7 * DAY
        name = f"{coin.base}USDT_{_date(delivery)}"
        found.append(
            Role(name, coin, delivery - 182 * DAY, None, "TRADING", "USDT", kind, delivery, premium, 0.01),
        )
    return found


def _date(time: int) -> str:
    """Print a time as the six digits of a quarterly's name."""
    return datetime.fromtimestamp(time // 1000, UTC).strftime("%y%m%d")


def _retired(names: Iterable[str], root: int, start: int) -> list[Role]:
    """List one symbol for each status in which nothing trades any more."""
    found = []
    for n, status in enumerate(_RETIRED):
        base = next(iter(names))
        end = start - start % DAY - (3 + 20 * n) * DAY
        coin = Coin(base, 10.0 ** (2 * uniform(root, 1000 + n) - 1), 1e6)
        kind = "CURRENT_QUARTER DELIVERING" if "DELIVER" in status else "PERPETUAL"
        symbol = f"{base}USDT_{_date(end)}" if "DELIVER" in status else f"{base}USDT"
        found.append(Role(symbol, coin, end - 200 * DAY, end, status, "USDT", kind, end))
    return found


def _other_quote(largest: Role) -> Role:
    """List the largest coin against USDC as well."""
    return largest._replace(symbol=f"{largest.coin.base}USDC", quote="USDC", share=0.05)


def _moments(roles: Iterable[Role], start: int) -> Iterable[tuple[int, int]]:
    """Give the times after *start* at which a listing changes, with the number of its role."""
    for n, role in enumerate(roles):
        if role.onboard > start:
            yield role.onboard - _ANNOUNCED, n
            yield role.onboard, n
        if role.end is not None and role.end > start:
            yield role.end - _ANNOUNCED, n
            yield role.end, n


def _status(role: Role, now: int) -> str:
    if now < role.onboard:
        return "PENDING_TRADING"
    if role.end is None or now < role.end:
        return "TRADING"
    return role.status if role.status != "TRADING" else "SETTLING"


def _listing(role: Role, now: int) -> Listing:
    """Give a symbol's listing as it is at *now*; the end of a perpetual is announced an hour before."""
    price, quantity = decimals_of(role.coin.price)
    perpetual = role.contract_type in {"PERPETUAL", "TRADIFI_PERPETUAL"}
    told = not perpetual or (role.end is not None and now >= role.end - _ANNOUNCED)
    tick = "0.10" if price == 2 and role.coin.price > 50_000 else _power(price)
    return Listing(
        symbol=role.symbol,
        pair=role.symbol.split("_")[0],
        contract_type=role.contract_type,
        status=role.status if role.status == "PENDING_TRADING" else _status(role, now),
        base_asset=role.coin.base,
        quote_asset=role.quote,
        onboard_time=role.onboard,
        price_decimals=price,
        quantity_decimals=quantity,
        delivery_time=role.delivery if told else NO_DELIVERY,
        tick_size=tick,
        step_size=_power(quantity),
        underlying_type=role.coin.underlying,
    )


def _power(decimals: int) -> str:
    """Print 10**-decimals."""
    return "1" if decimals == 0 else f"0.{'1'.rjust(decimals, '0')}"
