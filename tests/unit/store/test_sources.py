"""Several stores as one: a bar from where it is, larger ones from their parts, nothing chosen in silence."""

from collections.abc import Sequence
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.panel.model import Bar, exact, market, roll_up
from tests.unit.store.series import changed, part, same

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import TIMEFRAMES, Timeframe, timeframe
from klinehub.errors import DataError
from klinehub.store import sources
from klinehub.store.joining import FOREVER, times_of
from klinehub.store.sources import Sources

MINUTE: Final = timeframe("1m")
HOUR: Final = timeframe("1h")
DAY: Final = timeframe("1d")
# 2024-02-29 00:00.
FIRST: Final = 1_709_164_800_000 // 60_000
MARKET: Final = market(MINUTE, FIRST, 1_000, 3)


class Memory:
    """A source that holds what it was given and knows the most bars that it gave at once."""

    def __init__(self, bars: dict[Timeframe, dict[str, Exact]]) -> None:
        self.bars = bars
        self.most = 0

    @property
    def timeframes(self) -> tuple[Timeframe, ...]:
        return tuple(self.bars)

    def symbols(self, timeframe: Timeframe, start: int = 0, end: int = FOREVER) -> tuple[str, ...]:
        return tuple(self.read(timeframe, None, start, end))

    def span(self, timeframe: Timeframe) -> tuple[int, int]:
        times = [time for held in self.bars.get(timeframe, {}).values() for time in times_of(held).tolist()]
        return (min(times), max(times) + 1) if times else (0, 0)

    def read(
        self, timeframe: Timeframe, symbols: Sequence[str] | None, start: int, end: int
    ) -> dict[str, Exact]:
        found = {}
        for symbol, held in self.bars.get(timeframe, {}).items():
            keep = (times_of(held) >= start) & (times_of(held) < end)
            if keep.any() and (symbols is None or symbol in symbols):
                found[symbol] = Exact(held.rows[keep], held.scale)
        self.most = max(self.most, sum(held.rows.size for held in found.values()))
        return found


def rolled(bars: list[Bar], whole: Timeframe, part: Timeframe) -> Exact:
    """Roll up plainly, whole bars only."""
    groups: dict[int, list[Bar]] = {}
    for bar in bars:
        groups.setdefault(whole.index(bar.open_time), []).append(bar)
    lengths = {i: part.index(whole.open_time(i + 1)) - part.index(whole.open_time(i)) for i in groups}
    return exact([roll_up(of, whole) for i, of in groups.items() if len(of) == lengths[i]])


def test_a_larger_timeframe_is_built_where_only_the_base_is_kept() -> None:
    both = Sources([Memory({MINUTE: {"A": exact(MARKET)}})])
    found = both.read(HOUR, None, 0, FOREVER)

    assert list(found) == ["A"]
    assert same(rolled(MARKET, HOUR, MINUTE), found["A"])
    assert both.symbols(HOUR) == ("A",)
    assert both.timeframes == (MINUTE,)
    assert both.read(timeframe("1M"), None, 0, FOREVER) == {}


def test_two_sources_are_one_and_larger_bars_span_both() -> None:
    old, new = exact(MARKET[:530]), exact(MARKET[500:])
    both = Sources([Memory({MINUTE: {"A": old}}), Memory({MINUTE: {"A": new, "B": new}})])

    assert same(exact(MARKET), both.read(MINUTE, None, 0, FOREVER)["A"])
    assert same(rolled(MARKET, HOUR, MINUTE), both.read(HOUR, ["A"], 0, FOREVER)["A"])
    assert both.symbols(HOUR) == ("A", "B")


def test_sources_that_disagree_are_refused_by_name() -> None:
    one, other = exact(MARKET), changed(exact(MARKET), 7, close=1.5)
    both = Sources([Memory({MINUTE: {"A": one}}), Memory({MINUTE: {"A": other}})])

    for frame in (MINUTE, HOUR):
        with pytest.raises(DataError, match="A 1m 2024-02-29 00:07:00 UTC: close"):
            both.read(frame, None, 0, FOREVER)


def test_bars_that_are_kept_are_not_built_again() -> None:
    hours = rolled(MARKET, HOUR, MINUTE)
    # Kept hours say something else than their minutes: what is kept is given, what lacks is built.
    kept = changed(changed(hours, 2, trades=1), 9, trades=2)
    holed = Exact(kept.rows[[0, 1, 2, 5, 6, 7, 8, 9]], kept.scale)
    found = Sources([Memory({MINUTE: {"A": exact(MARKET)}, HOUR: {"A": holed}})]).read(
        HOUR, None, 0, FOREVER
    )["A"]
    expected = hours.rows.copy()
    expected["trades"][[2, 9]] = 1, 2

    assert same(Exact(expected, hours.scale), found)


def test_each_timeframe_is_built_of_the_largest_that_is_kept() -> None:
    hours = rolled(MARKET, HOUR, MINUTE)
    six = timeframe("6h")
    kept = changed(hours, 0, trades=10**9)
    found = Sources([Memory({MINUTE: {"A": exact(MARKET)}, HOUR: {"A": kept}})]).read(six, ["A"], 0, FOREVER)[
        "A"
    ]

    assert found.rows["trades"].tolist()[0] == int(kept.rows["trades"][:6].sum())


def test_the_first_bar_of_a_symbol_is_built_where_its_beginning_is_known() -> None:
    bars, listed = exact(MARKET[17:]), MARKET[17].open_time
    unknown = Sources([Memory({MINUTE: {"A": bars}})]).read(HOUR, None, 0, FOREVER)["A"]
    known = Sources([Memory({MINUTE: {"A": bars}})], {"A": listed}).read(HOUR, None, 0, FOREVER)["A"]

    assert same(unknown, part(known, 1, known.rows.size))
    assert known.rows["trades"][0] == sum(bar.trades for bar in MARKET[17:60])


def test_a_whole_market_is_not_built_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory({MINUTE: {f"S{n}": exact(MARKET) for n in range(7)}})
    monkeypatch.setattr(sources, "PARTS", 2_500)
    found = Sources([memory]).read(HOUR, [f"S{n}" for n in range(7)], 0, FOREVER)

    assert [same(rolled(MARKET, HOUR, MINUTE), exact) for exact in found.values()] == [True] * 7
    assert memory.most == 2_000


@given(
    name=st.sampled_from([name for name in TIMEFRAMES if name not in {"1m", "3d", "1w", "1M"}]),
    holes=st.sets(st.integers(0, 999), max_size=4),
    span=st.tuples(st.integers(-100, 1_100), st.integers(-100, 1_100)),
)
@settings(max_examples=60)
def test_a_range_of_any_timeframe_is_that_part_of_all(
    name: str, holes: set[int], span: tuple[int, int]
) -> None:
    frame = timeframe(name)
    bars = [bar for at, bar in enumerate(MARKET) if at not in holes]
    start, end = (FIRST * 60_000 + 60_000 * minute for minute in sorted(span))
    everything = rolled(bars, frame, MINUTE)
    inside = everything.rows[(times_of(everything) >= start) & (times_of(everything) < end)]
    found = Sources([Memory({MINUTE: {"A": exact(bars)}})]).read(frame, ["A"], start, end)

    assert inside.tobytes() == (found["A"].rows.tobytes() if "A" in found else b"")
