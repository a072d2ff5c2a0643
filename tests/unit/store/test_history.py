"""The history: what is written is there, once, whoever stops when; what disagrees is refused."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.store.series import changed, exacts, part, plain, same, symbols

from klinehub.domain.kline import Exact, Scale
from klinehub.domain.timeframe import timeframe
from klinehub.errors import DataError, DefinitionError, StoreError
from klinehub.store import history
from klinehub.store.history import HistoryStore, Range
from klinehub.store.joining import FOREVER
from klinehub.store.objects import files_at
from klinehub.store.parquet import DamagedSegment, encode

MINUTE: Final = timeframe("1m")
HOUR: Final = timeframe("1h")
# 2024-02-29 23:30, half an hour before a leap year's March.
FIRST: Final = 1_709_249_400_000 // 60_000
BARS: Final = {
    "BTCUSDT": plain(MINUTE, FIRST, 60),
    "币安人生USDT": plain(MINUTE, FIRST + 10, 40, 2, Scale(5, 0, 7)),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "history"


@pytest.fixture(params=["folder", "s3", "fsspec"])
def store(request: pytest.FixtureRequest, folder: Path) -> HistoryStore:
    """Give a store in each kind of place: what follows holds of all of them."""
    if request.param == "folder":
        return HistoryStore(folder)
    if request.param == "fsspec":
        return HistoryStore(files_at(f"memory://{folder}"))
    return HistoryStore(files_at(request.getfixturevalue("s3").url("some/prefix"), "history"))


@pytest.fixture
def local(folder: Path) -> HistoryStore:
    return HistoryStore(folder)


def everything(store: HistoryStore) -> dict[str, Exact]:
    """Read all minutes as a store does that was only now opened."""
    return HistoryStore(store.files).read(MINUTE, None, 0, FOREVER)


def equal(one: dict[str, Exact], other: dict[str, Exact]) -> bool:
    return one.keys() == other.keys() and all(same(one[symbol], other[symbol]) for symbol in one)


def test_what_is_written_is_read_by_timeframe_and_month(store: HistoryStore) -> None:
    written = store.write(MINUTE, BARS)

    assert (written.new, written.corrected) == (100, 0)
    assert [str(path.parent.relative_to(store.files.root)) for path in written.segments] == [
        "1m/2024-02",
        "1m/2024-03",
    ]
    assert equal(BARS, everything(store))
    assert store.timeframes == (MINUTE,)
    assert store.months(MINUTE) == ("2024-02", "2024-03")
    assert store.symbols(MINUTE) == tuple(BARS)
    assert store.symbols(MINUTE, 0, (FIRST + 10) * 60_000) == ("BTCUSDT",)
    assert store.ranges(MINUTE)["BTCUSDT"] == Range(FIRST * 60_000, (FIRST + 59) * 60_000, 60)
    assert repr(store).endswith("history, 1m>")


def test_nothing_is_there_before_something_is_written(store: HistoryStore) -> None:
    assert (store.timeframes, store.symbols(MINUTE), everything(store), store.damaged) == ((), (), {}, ())
    assert store.write(MINUTE, {}).segments == ()
    assert store.write(MINUTE, {"A": part(BARS["BTCUSDT"], 0, 0)}).segments == ()


@given(data=st.data(), name=st.sampled_from(["1m", "3d", "1w", "1M"]))
@settings(max_examples=40)
def test_any_bars_in_any_order_of_writes_come_back(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, name: str
) -> None:
    frame = timeframe(name)
    bars = data.draw(st.dictionaries(symbols, exacts(frame), min_size=1, max_size=3))
    store = HistoryStore(tmp_path_factory.mktemp("history"))
    cuts = {symbol: data.draw(st.integers(0, exact.rows.size)) for symbol, exact in bars.items()}
    halves = [
        {symbol: part(exact, cuts[symbol], exact.rows.size) for symbol, exact in bars.items()},
        {symbol: part(exact, 0, cuts[symbol]) for symbol, exact in bars.items()},
        bars,
    ]
    new = [store.write(frame, half).new for half in halves]
    found = store.read(frame, None, 0, FOREVER)

    assert new == [sum(exact.rows.size for exact in half.values()) for half in halves[:2]] + [0]
    assert equal(bars, found)
    for month in store.months(frame):
        store.compact(frame, month)
    assert equal(bars, HistoryStore(store.files).read(frame, None, 0, FOREVER))
    assert store.verify().sound


@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 60), (29, 31), (30, 31), (59, 60), (7, 7), (60, 90)])
def test_a_range_is_cut_out(store: HistoryStore, start: int, end: int) -> None:
    store.write(MINUTE, BARS)
    found = store.read(MINUTE, ["BTCUSDT"], (FIRST + start) * 60_000, (FIRST + end) * 60_000)
    expected = part(BARS["BTCUSDT"], start, end)

    assert equal({"BTCUSDT": expected} if expected.rows.size else {}, found)


def test_symbols_are_told_from_each_other(store: HistoryStore) -> None:
    store.write(MINUTE, BARS)

    assert list(store.read(MINUTE, ["币安人生USDT", "ETHUSDT"], 0, FOREVER)) == ["币安人生USDT"]
    assert store.read(MINUTE, [], 0, FOREVER) == {}


def test_equal_bars_again_change_nothing(store: HistoryStore) -> None:
    store.write(MINUTE, BARS)
    before = store.files.below()
    again = store.write(MINUTE, {"BTCUSDT": part(BARS["BTCUSDT"], 5, 50)})

    assert (again.new, again.corrected, again.segments) == (0, 0, ())
    assert store.files.below() == before


def test_bars_printed_with_more_decimals_are_equal_all_the_same(store: HistoryStore) -> None:
    bars = BARS["BTCUSDT"]
    rows = bars.rows.copy()
    for name in ("volume", "taker_base"):
        rows[name] *= 10
    store.write(MINUTE, {"BTCUSDT": bars})

    assert store.write(MINUTE, {"BTCUSDT": Exact(rows, Scale(4, 4, 5))}).new == 0


def test_decimals_that_grow_are_kept_for_each_bar(store: HistoryStore) -> None:
    old, new = plain(MINUTE, FIRST, 5), plain(MINUTE, FIRST + 5, 5, 3, Scale(4, 4, 5))
    for bars in (old, new):
        store.write(MINUTE, {"A": bars})
    store.compact(MINUTE, "2024-02")
    both = everything(store)["A"]

    assert same(old, store.read(MINUTE, ["A"], 0, (FIRST + 5) * 60_000)["A"])
    assert same(new, store.read(MINUTE, ["A"], (FIRST + 5) * 60_000, FOREVER)["A"])
    assert both.scale == Scale(4, 4, 5)
    assert both.rows["volume"].tolist() == [*(old.rows["volume"] * 10).tolist(), *new.rows["volume"].tolist()]


def test_a_bar_that_disagrees_is_refused_and_nothing_is_written(store: HistoryStore) -> None:
    store.write(MINUTE, {"BTCUSDT": part(BARS["BTCUSDT"], 0, 40)})
    wrong = changed(BARS["BTCUSDT"], 7, close=1.25, volume=1_500)

    with pytest.raises(DataError) as caught:
        store.write(MINUTE, {"A": BARS["BTCUSDT"], "BTCUSDT": wrong})
    assert "BTCUSDT 1m 2024-02-29 23:37:00 UTC: close " in str(caught.value)
    assert "and close 1.25, volume 1.500: the first is kept, nothing was written" in str(caught.value)
    assert "replace=True" in str(caught.value)
    assert equal({"BTCUSDT": part(BARS["BTCUSDT"], 0, 40)}, everything(store))


def test_a_correction_takes_the_place_of_what_is_kept(store: HistoryStore) -> None:
    store.write(MINUTE, BARS)
    right = BARS["BTCUSDT"]
    for close in (1.25, 1.75, 1.25):
        right = changed(BARS["BTCUSDT"], 7, close=close)
        written = store.write(MINUTE, {"BTCUSDT": right}, replace=True)

        assert (written.new, written.corrected) == (0, 1)
        assert equal({**BARS, "BTCUSDT": right}, everything(store))
    with pytest.raises(DataError, match="the first is kept"):
        store.write(MINUTE, BARS)
    store.compact(MINUTE, "2024-02")
    assert equal({**BARS, "BTCUSDT": right}, everything(store))
    assert len(store.paths(MINUTE, "2024-02")) == 1
    assert store.verify().sound


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([0, 2, 1], "23:31:00 UTC comes after that of 2024-02-29 23:32:00"),
        ([0, 1, 1], None),
        ([2, 1, 0], "comes after"),
    ],
)
def test_disorder_is_refused_and_an_echo_is_not(
    store: HistoryStore, rows: list[int], said: str | None
) -> None:
    bars = Exact(BARS["BTCUSDT"].rows[rows], BARS["BTCUSDT"].scale)
    if said is None:
        assert store.write(MINUTE, {"A": bars}).new == 2
        return
    with pytest.raises(DataError, match=said):
        store.write(MINUTE, {"A": bars})
    assert everything(store) == {}


def test_a_bar_twice_in_two_forms_is_refused(store: HistoryStore) -> None:
    bars = Exact(BARS["BTCUSDT"].rows[[0, 1, 1]].copy(), BARS["BTCUSDT"].scale)

    with pytest.raises(DataError, match="leave in one of each"):
        store.write(MINUTE, {"A": changed(bars, 2, close=1.0)})


@pytest.mark.parametrize(("name", "off"), [("1m", 1), ("1h", 60_000), ("1w", 86_400_000), ("1M", 86_400_000)])
def test_bars_off_the_grid_are_refused(store: HistoryStore, name: str, off: int) -> None:
    frame = timeframe(name)
    bars = plain(frame, frame.index(FIRST * 60_000), 3)
    opened = int(bars.rows["open_time"][1])

    with pytest.raises(DataError, match=f"is no open time of a {name} bar"):
        store.write(frame, {"A": changed(bars, 1, open_time=opened + off)})


@pytest.mark.parametrize("time", [-60_000, 1_709_249_400_000_000])
def test_times_that_are_no_milliseconds_are_refused(store: HistoryStore, time: int) -> None:
    with pytest.raises(DataError, match=f"{time} is no open time in ms UTC"):
        store.write(MINUTE, {"A": changed(plain(MINUTE, FIRST, 1), 0, open_time=time)})


def test_months_are_cut_into_segments_of_some_size(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SEGMENT_BARS", 100)
    bars = {f"S{n}": plain(MINUTE, FIRST, 30, n) for n in range(10)}

    assert len(store.write(MINUTE, bars).segments) == 4
    assert equal(bars, everything(store))
    assert [path.name[:5] for path in store.paths(MINUTE, "2024-02")] == ["S0+S2", "S3+S5", "S6+S8", "S9+S9"]
    assert store.compact(MINUTE, "2024-02") == ()


def test_many_segments_become_few_and_only_where_that_helps(store: HistoryStore) -> None:
    for n in range(6):
        store.write(MINUTE, {f"S{n}": plain(MINUTE, FIRST, 30, n)})
        store.write(MINUTE, {f"S{n}": plain(MINUTE, FIRST + 30, 30, n)})
    before = everything(store)
    made = store.compact(MINUTE, "2024-02")

    assert store.paths(MINUTE, "2024-02") == list(made)
    assert len(made) == 1
    assert len(store.paths(MINUTE, "2024-03")) == 6
    assert equal(before, everything(store))
    assert store.compact(MINUTE, "2024-02") == ()
    assert store.compact(MINUTE, "1999-01") == ()
    with pytest.raises(DefinitionError, match="write it like 2025-06"):
        store.compact(MINUTE, "February")


def test_writers_wait_for_each_other(store: HistoryStore) -> None:
    with ThreadPoolExecutor(4) as pool:
        writes = [
            pool.submit(HistoryStore(store.files).write, MINUTE, {f"S{n}": BARS["BTCUSDT"]}) for n in range(8)
        ]

    assert [write.result().new for write in writes] == [60] * 8
    assert len(everything(store)) == 8


class Crash(BaseException):
    """The machine stops here."""


Steps = Callable[[int], None]


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    """Stop at the step number so and so, of all that touch the disk; -1 for none, counting goes on."""
    state = {"left": -1}

    def stopping(call: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object, **options: object) -> object:
            if state["left"] == 0:
                raise Crash
            state["left"] -= 1
            return call(*arguments, **options)

        return step

    for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir")):
        monkeypatch.setattr(owner, name, stopping(getattr(owner, name)))

    def at(number: int) -> None:
        state["left"] = number

    yield at
    state["left"] = -1


@pytest.mark.parametrize("kind", ["write", "correct", "compact"])
def test_wherever_it_stops_bars_are_as_before_or_as_after(tmp_path: Path, crash_at: Steps, kind: str) -> None:
    right = changed(BARS["BTCUSDT"], 7, close=1.25)
    stops = 0
    for number in range(60):
        store = HistoryStore(tmp_path / str(number))
        store.write(MINUTE, {"BTCUSDT": part(BARS["BTCUSDT"], 0, 20)})
        store.write(MINUTE, {"BTCUSDT": part(BARS["BTCUSDT"], 20, 25)})
        before, after = everything(store), {"BTCUSDT": right} if kind == "correct" else BARS
        crash_at(number)
        try:
            if kind == "compact":
                store.compact(MINUTE, "2024-02")
            else:
                store.write(MINUTE, after, replace=kind == "correct")
        except Crash:
            stops += 1
        else:
            break
        finally:
            crash_at(-1)
        found = everything(store)

        if kind == "compact":
            assert equal(before, found)
            continue
        for symbol, exact in found.items():
            olds = {time: row.tobytes() for time, row in rows_of(before.get(symbol))}
            news = {time: row.tobytes() for time, row in rows_of(after[symbol])}
            for time, row in rows_of(exact):
                assert row.tobytes() in {olds.get(time), news[time]}
            assert olds.keys() <= {time for time, _ in rows_of(exact)}
        store.write(MINUTE, after, replace=kind == "correct")
        assert equal({**before, **after}, everything(store))
        assert store.verify().sound
        assert not [path for path in (tmp_path / str(number)).rglob(".*") if path.name != ".lock"]
    assert 5 <= stops < 59


def rows_of(exact: Exact | None) -> list[tuple[int, np.void]]:
    return [] if exact is None else [(int(row["open_time"]), row) for row in exact.rows]


def test_half_a_file_is_cleared_away_by_the_next_write(local: HistoryStore, folder: Path) -> None:
    store = local
    store.write(MINUTE, {"A": part(BARS["BTCUSDT"], 0, 5)})
    half = folder / "1m" / "2024-02" / ".B+B+0011223344556677.parquet.unfinished"
    half.write_bytes(b"PAR1 and no more")

    assert list(everything(store)) == ["A"]
    store.write(MINUTE, {"B": part(BARS["BTCUSDT"], 0, 5)})
    assert not half.exists()


def test_a_disk_that_refuses_is_named_and_loses_nothing(
    local: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = local
    store.write(MINUTE, {"A": BARS["BTCUSDT"]})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device.*nothing that was there is lost"):
        store.write(MINUTE, {"B": BARS["BTCUSDT"]})
    monkeypatch.undo()
    assert list(everything(store)) == ["A"]


def test_a_file_that_can_not_be_read_is_named(local: HistoryStore) -> None:
    store = local
    store.write(MINUTE, {"A": part(BARS["BTCUSDT"], 0, 5)})
    path = Path(store.paths(MINUTE, "2024-02")[0])
    path.unlink()
    path.mkdir()

    with pytest.raises(StoreError, match="can not be read"):
        everything(store)
    assert [damage.path for damage in store.verify().damaged] == [path]


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(StoreError, match="can not be made"):
        HistoryStore(tmp_path / "file" / "history").write(MINUTE, BARS)


def test_bars_kept_in_two_forms_are_named_and_not_served(store: HistoryStore) -> None:
    store.write(MINUTE, {"BTCUSDT": part(BARS["BTCUSDT"], 0, 20)})
    name, body = encode(MINUTE, [("BTCUSDT", changed(part(BARS["BTCUSDT"], 5, 9), 2, close=1.25))], 0)
    store.files.put(store.files.root / "1m" / "2024-02" / name, body)

    with pytest.raises(DataError, match=r"23:37:00 UTC: close .* are both kept"):
        store.read(MINUTE, None, 0, FOREVER)
    report = store.verify()
    assert not report.sound
    assert ["23:37:00" in said for said in report.conflicts] == [True]
    store.write(MINUTE, {"ETHUSDT": BARS["BTCUSDT"]})
    assert list(store.read(MINUTE, ["ETHUSDT"], 0, FOREVER)) == ["ETHUSDT"]


def test_a_damaged_segment_is_named_set_aside_and_written_again(store: HistoryStore) -> None:
    for symbol, exact in BARS.items():
        store.write(MINUTE, {symbol: exact})
    path = next(path for path in store.paths(MINUTE, "2024-02") if path.name.startswith("BTC"))
    with store.files.reading(path) as file:
        body = bytearray(file.read())
    body[100] ^= 4
    store.files.put(path, bytes(body))

    with pytest.raises(DamagedSegment) as caught:
        everything(store)
    assert caught.value.path == path
    assert [(damage.path, "bytes 4 to" in damage.why) for damage in store.verify().damaged] == [(path, True)]
    aside = store.set_aside(path)
    assert store.damaged == (aside,)
    assert everything(store)["BTCUSDT"].rows.size == 30
    assert store.write(MINUTE, BARS).new == 30
    assert equal(BARS, everything(store))
    assert store.verify().sound


def test_a_report_counts_bars_and_names_gaps(store: HistoryStore) -> None:
    bars = BARS["BTCUSDT"]
    holes = Exact(bars.rows[[*range(10), *range(13, 40), *range(41, 60)]], bars.scale)
    store.write(MINUTE, {"BTCUSDT": holes})
    store.write(HOUR, {"BTCUSDT": plain(HOUR, 1000, 3)})
    report = store.verify()

    assert (report.segments, report.bars, report.sound) == (3, 59, True)
    assert [(gap.timeframe, gap.symbol, gap.first // 60_000 - FIRST, gap.bars) for gap in report.gaps] == [
        ("1m", "BTCUSDT", 10, 3),
        ("1m", "BTCUSDT", 40, 1),
    ]


def test_a_reader_goes_on_when_a_month_is_compacted_meanwhile(
    store: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(3):
        store.write(MINUTE, {f"S{n}": part(BARS["BTCUSDT"], 0, 20)})
    reader = HistoryStore(store.files)
    paths = reader.paths
    calls = iter([paths(MINUTE, "2024-02")])
    monkeypatch.setattr(reader, "paths", lambda frame, month: next(calls, None) or paths(frame, month))
    store.compact(MINUTE, "2024-02")

    assert len(reader.read(MINUTE, None, 0, FOREVER)) == 3


def test_what_is_not_ours_is_left_alone(store: HistoryStore) -> None:
    store.write(MINUTE, BARS)
    month = store.files.root / "1m" / "2024-02"
    store.files.put(month.with_name("notes") / "readme.txt", b"mine")
    store.files.put(month / "readme.txt", b"mine")

    assert equal(BARS, everything(store))
    store.files.put(month / "mine.parquet", b"PAR1")
    with pytest.raises(DamagedSegment, match=r"mine\.parquet is damaged"):
        everything(store)


def test_a_month_that_is_deleted_is_gone_and_what_was_set_aside_stays(store: HistoryStore) -> None:
    for month in (FIRST, FIRST + 60):
        store.write(MINUTE, {"A": plain(MINUTE, month, 20)})
    aside = store.set_aside(store.paths(MINUTE, "2024-03")[0])

    assert len(store.drop(MINUTE, "2024-02")) == 1
    assert store.drop(MINUTE, "2024-03") == ()
    assert (store.months(MINUTE), store.damaged, everything(store)) == (("2024-03",), (aside,), {})
    assert [symbol for _, symbol, _, _ in store.lost(aside, ["A"])] == ["A"]
    assert (store.unfinished, store.tidy()) == ((), ())


def test_the_bytes_of_a_month_are_told(store: HistoryStore) -> None:
    store.write(MINUTE, BARS)
    path = store.paths(MINUTE, "2024-02")[0]
    with store.files.reading(path) as file:
        assert store.size(MINUTE, "2024-02") == len(file.read())
    store.files.drop([path])
    with pytest.raises(FileNotFoundError):
        store.files.size(path)
    assert store.size(MINUTE, "2024-02") == 0
