"""Scenes: what the world of one seed is like: its market, exchange and network, and its hub's settings."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from klinehub.domain.timeframe import DAY, MINUTE
from klinehub.sim.listings import Plan, Role, plan
from klinehub.sim.market import HOUR
from klinehub.sim.names import Coin
from klinehub.sim.oracle import Remembering
from klinehub.sim.synthetic import SyntheticMarket
from klinehub.sim.wire import Delay, between, heavy

# 2026-10-05 00:00; scenes begin within a month after it.
FIRST_DAY: Final = 1_791_158_400_000
_DAYS: Final = 28
# The residents of a whole market that scenes draw from, the largest first.
_RESIDENTS: Final = 550
_SMALLEST: Final = 400
_FEWEST, _MOST = 3, 5
_HIDDEN: Final = 2
_TIMEFRAMES: Final = (
    (("1m", "5m", "15m", "1h"), 0.8),
    (("1m", "5m", "1h", "4h", "1d"), 0.1),
    (("1m", "3m", "15m", "30m", "2h"), 0.1),
)
_PULSES: Final = ((1.0, 0.8), (0.5, 0.15), (0.25, 0.05))
# A coin that nobody trades in most minutes.
_QUIET_TURNOVER: Final = 60_000.0


@dataclass(frozen=True)
class Scene:
    """The world of one seed; `start` is market time in ms, `skew` how far the hub's clock is ahead (ms).

    `hidden` are the symbols that nobody has heard of until they are listed.
    """

    seed: int
    start: int
    seconds: float
    roles: tuple[Role, ...]
    hidden: tuple[str, ...]
    timeframes: tuple[str, ...]
    native: bool
    bars: int
    limit: int
    share: float
    per_socket: int
    flat_closes: bool
    pulse: float
    skew: int
    delay: Delay
    heavy: bool
    store: bool
    consumers: bool

    @property
    def end(self) -> int:
        """The market time (ms) up to which faults may come."""
        return self.start + int(self.seconds * 1000)

    def market(self) -> Remembering:
        """Make the market."""
        return Remembering(SyntheticMarket(Plan(self.roles, (), ()), self.seed), self.hidden)

    def __str__(self) -> str:
        """Tell the scene on one line."""
        names = " ".join(
            f"({role.symbol})" if role.symbol in self.hidden else role.symbol for role in self.roles
        )
        parts = (
            f"start {self.start}",
            f"{self.seconds / 3600:.2f} h",
            names,
            f"{','.join(self.timeframes)}{' native' if self.native else ''}",
            f"{self.bars} bars",
            f"limit {self.limit} x {self.share}",
            f"{self.per_socket} names a socket",
            "flat closes told" if self.flat_closes else "flat closes not told",
            f"pulse {self.pulse} s",
            f"clock {self.skew:+d} ms",
            "heavy-tailed delays" if self.heavy else "even delays",
            "a store" if self.store else "no store",
            *(["clients"] if self.consumers else []),
        )
        return "; ".join(parts)


def draw(seed: int) -> Scene:
    """Draw the scene of a seed."""
    rng = np.random.default_rng([seed, 11])
    seconds = float(rng.uniform(900, 1_800))
    timeframes, native = _pick(rng, _TIMEFRAMES), bool(rng.random() < 0.2)
    roles = _roles(rng)
    names = (len(roles) - _HIDDEN) * (len(timeframes) if native else 1)
    long_tailed = bool(rng.random() < 0.25)
    return Scene(
        seed=seed,
        start=_start(rng, seconds),
        seconds=seconds,
        roles=roles,
        hidden=tuple(role.symbol for role in roles[-_HIDDEN:]),
        timeframes=timeframes,
        native=native,
        bars=int(rng.integers(40, 71)),
        limit=int(rng.choice((600, 1200, 2400))),
        share=float(rng.choice((0.5, 0.8))),
        per_socket=-(-names // int(rng.integers(1, 4))),
        flat_closes=bool(rng.random() < 0.5),
        pulse=_pick(rng, _PULSES),
        skew=int(rng.integers(-5_000, 5_001)),
        delay=heavy(0.02, 1.0) if long_tailed else between(0.005, 0.025),
        heavy=long_tailed,
        # Of its own dice: all else is as it was before there were stores.
        store=bool(np.random.default_rng([seed, 14]).random() < 0.5),
        consumers=bool(np.random.default_rng([seed, 16]).random() < 1 / 8),
    )


def _pick(rng: np.random.Generator, choices: tuple[tuple[Any, float], ...]) -> Any:  # noqa: ANN401 - of any kind
    """Choose one of several things, each with its share."""
    return choices[int(rng.choice(len(choices), p=[share for _, share in choices]))][0]


def _start(rng: np.random.Generator, seconds: float) -> int:
    """Begin somewhere in the month, now and then so that the end of an hour or a day is passed early on."""
    anywhere = FIRST_DAY + int(rng.integers(0, _DAYS * DAY))
    mood = rng.random()
    if mood < 0.6:
        return anywhere
    length = HOUR if mood < 0.85 else DAY
    return anywhere // length * length + length - int(rng.uniform(2 * MINUTE, seconds * 500))


def _roles(rng: np.random.Generator) -> tuple[Role, ...]:
    """Choose the symbols: the largest, some more, one that trades seldom, and some not listed yet."""
    residents = plan(_RESIDENTS, 1, FIRST_DAY, 0).roles[:_RESIDENTS]
    number = int(rng.integers(_FEWEST, _MOST + 1)) - 2
    others = rng.choice(np.arange(1, _SMALLEST), number + _HIDDEN, replace=False).tolist()
    chosen = [residents[i] for i in (0, *sorted(others[_HIDDEN:]))]
    price = float(10.0 ** rng.uniform(-2, 2))
    quiet = Coin("QUIET", price, _QUIET_TURNOVER)
    hidden = (residents[i] for i in others[:_HIDDEN])
    return (*chosen, Role("QUIETUSDT", quiet, chosen[-1].onboard), *hidden)
