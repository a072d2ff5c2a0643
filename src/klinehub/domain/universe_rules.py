"""The rules of the universe: every threshold that decides which symbols are scanned."""

from typing import Final

import msgspec

from klinehub.errors import DefinitionError

# From the least to the most of each threshold.
LIMITS: Final[dict[str, tuple[float, float]]] = {
    "elite_hours": (1, 168),
    "elite_turnover": (0, 1e15),
    "elite_turnover_keep": (0, 1e15),
    "elite_age_days": (0, 3_650),
    "stable_days": (1, 60),
    "stable_share": (0, 1),
    "stable_share_keep": (0, 1),
    "overlay_minutes": (1, 1_440),
    "overlay_turnover": (0, 1e15),
    "overlay_turnover_keep": (0, 1e15),
    "overlay_most": (0, 100_000),
    "day_surge": (1, 1_000),
    "day_surge_keep": (1, 1_000),
    "day_surge_days": (1, 60),
    "hour_surge": (1, 1_000),
    "hour_surge_keep": (1, 1_000),
    "hour_surge_hours": (1, 1_440),
    "hour_surge_recent": (1, 24),
    "known_share": (0.01, 1),
    "move_percent": (0, 1_000),
    "move_percent_keep": (0, 1_000),
    "fresh_days": (0, 365),
    "most": (1, 100_000),
    "cut_buffer": (0, 1_000),
}
KEEP: Final = "_keep"


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What puts a symbol into the universe and what keeps it there; each field is a key of `universe`.

    Turnover is in the quote asset. What ends in `_keep` holds for a symbol that is in the pool already, so
    that one at a threshold does not come and go. `most` bounds the whole universe, None does not;
    `pins` are in while they trade.
    """

    elite_hours: int = 24
    elite_turnover: float = 10_000_000.0
    elite_turnover_keep: float = 7_000_000.0
    elite_age_days: float = 30.0
    stable_days: int = 14
    stable_share: float = 0.8
    stable_share_keep: float = 0.7
    overlay_minutes: int = 60
    overlay_turnover: float = 3_000_000.0
    overlay_turnover_keep: float = 2_000_000.0
    overlay_most: int = 50
    day_surge: float = 3.0
    day_surge_keep: float = 2.0
    day_surge_days: int = 7
    hour_surge: float = 15.0
    hour_surge_keep: float = 7.0
    hour_surge_hours: int = 168
    hour_surge_recent: int = 4
    known_share: float = 0.5
    move_percent: float = 20.0
    move_percent_keep: float = 12.0
    fresh_days: float = 7.0
    most: int | None = None
    cut_buffer: int = 10
    pins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse thresholds that no universe can be chosen by."""
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise DefinitionError(
                    f"`universe.{name}` is {value:g}: it has to be from {least:g} to {most:g}."
                )
        for name in (name.removesuffix(KEEP) for name in LIMITS if name.endswith(KEEP)):
            come, keep = getattr(self, name), getattr(self, name + KEEP)
            if keep > come:
                raise DefinitionError(
                    f"`universe.{name}{KEEP}` is {keep:g}: it has to be at most `{name}` ({come:g}), "
                    "or a symbol would leave as it comes."
                )
        pins = len(set(self.pins))
        if self.most is not None and pins > self.most:
            raise DefinitionError(
                f"`universe.most` is {self.most}: it has to be at least {pins}, for the symbols of "
                "`universe.pins`."
            )

    @property
    def elite_period(self) -> int:
        """The time between two choices of the elite pool, in ms."""
        return self.elite_hours * 3_600_000

    @property
    def overlay_period(self) -> int:
        """The time between two choices of the overlay pool, in ms."""
        return self.overlay_minutes * 60_000

    @property
    def hours_read(self) -> int:
        """How many closed hours of turnover the rules look at; more are not read."""
        days = max(self.stable_days, self.day_surge_days + 1)
        return max(24 * days, self.hour_surge_hours + self.hour_surge_recent)
