"""The compiled reader of kline frames against `json`, `Decimal` and `float`: equal, or left to the slow path.

`tests/unit/feed/odd_frames.jsonl` holds the frames that a reader once got wrong, or easily could.
"""

import gzip
import json
import re
import struct
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.feed.frames import (
    MINUTES,
    NAMES,
    PRICES,
    VOLUMES,
    Told,
    a_ring,
    all_rows,
    bar,
    event,
    kept_as,
    packed,
    read_plainly,
)

from klinehub.domain.kline import CLOSED, FORMING, Scale
from klinehub.domain.timeframe import in_order
from klinehub.feed.core import Core
from klinehub.feed.decisions import Decisions
from klinehub.feed.directory import directory
from klinehub.feed.wire import (
    BAD,
    BASE_DECIMALS,
    CLOSED_AT,
    EVENT_AT,
    EVENT_WORDS,
    QUOTE_DECIMALS,
    ROW_AT,
    TIMEFRAME_AT,
    UNLISTED,
    UNUSUAL,
    WIDER,
    ingest,
    parse,
)
from klinehub.panel.memory import I64
from klinehub.panel.merge import CLOSED_NOW, QUIET

TIME: Final = 1_791_240_000_000
NOW: Final = TIME + 1_000
ODD_FRAMES: Final = Path(__file__).with_name("odd_frames.jsonl")
NEIGHBOURS: Final = ("AAAUSDT", "ZZZUSDT")
WHERE: Final = directory(NAMES, MINUTES, MINUTES[:1])


def parsed(frame: bytes) -> tuple[int, I64]:
    """Parse a frame with different bytes around it: what is beyond its end must not matter."""
    results = []
    for before, after in ((b"", b""), (b'{"k":', b'0"}}}' * 9), (b'"', b'","o":"7","x":true}}')):
        buf = np.frombuffer(before + frame + after, np.uint8).copy()
        out = np.zeros(EVENT_WORDS, np.int64)
        spans = np.zeros((256, 2), np.int64)
        end = len(before) + len(frame)
        flags = int(parse(buf, len(before), end, WHERE, spans, out, out.view(np.float64)))
        results.append((flags, out))
    assert len({flags for flags, _ in results}) == 1
    if results[0][0] == QUIET:
        assert results[0][1].tolist() == results[1][1].tolist() == results[2][1].tolist()
    return results[0]


def bits(number: float) -> bytes:
    return struct.pack("<d", number)


def assert_equal(out: I64, told: Told) -> None:
    """Hold an event's words against a plain reading, bit for bit."""
    assert out[ROW_AT] == (NAMES.index(told.symbol) if told.symbol in NAMES else -1)
    assert out[TIMEFRAME_AT] == (0 if told.timeframe == "1m" else -1)
    assert (out[CLOSED_AT], out[EVENT_AT]) == (told.closed, told.event_time)
    assert (out[0], out[7]) == (told.open_time, told.trades)
    floats = out.view(np.float64)
    assert [bits(floats[word]) for word, _ in PRICES] == [bits(price) for price in told.prices]
    for (word, _, part), value in zip(VOLUMES, told.volumes, strict=True):
        decimals = int(out[BASE_DECIMALS] if part == 1 else out[QUOTE_DECIMALS])
        assert Decimal(int(out[word])).scaleb(-max(decimals, 0)) == value


def assert_never_wrong(frame: bytes) -> int:
    """Parse a frame and feed it through a core: what is kept is what a plain reader reads."""
    flags, out = parsed(frame)
    told = read_plainly(frame)
    assert flags in {QUIET, UNUSUAL}
    if flags == QUIET:
        assert told is not None
        assert_equal(out, told)
    ring = a_ring((*NAMES, *NEIGHBOURS))
    core = Core(ring, wanted=5)
    core.watch(ring.symbols)
    first, last = (event(bar(TIME, symbol=name, x=True), at=TIME + 60_000) for name in NEIGHBOURS)
    core.on_batch(0, *packed([first, frame, last]), NOW)
    rows = {key: row for key, row in all_rows(ring).items() if key[1] == "1m"}
    for name in NEIGHBOURS:
        assert rows.pop((name, "1m", TIME))[1] == CLOSED
    for (symbol, _, _), (row, state) in rows.items():
        assert told is not None
        assert (symbol, "1m", row) == (
            told.symbol,
            told.timeframe,
            kept_as(told, ring.scale(ring.rows[symbol])),
        )
        assert state == (CLOSED if told.closed else FORMING)
    return flags


digits = st.text("0123456789", min_size=1, max_size=21)
plain_numerals = st.one_of(
    st.tuples(st.integers(0, 2**53), st.integers(0, 8)).map(lambda n: f"{Decimal(n[0]).scaleb(-n[1]):f}"),
    st.sampled_from(["0", "0.0", "0.00000", "1", "0.00000001", "9007199254740992", "1331523861.6042360"]),
)
odd_numerals = st.one_of(
    plain_numerals,
    st.integers(2**53, 2**64).map(str),
    st.tuples(digits, digits).map(".".join),
    st.tuples(digits, st.sampled_from("eE"), st.integers(-30, 30)).map(lambda n: f"{n[0]}{n[1]}{n[2]}"),
    st.sampled_from(
        [
            "NaN",
            "Infinity",
            "-Infinity",
            "nan",
            "-1.5",
            "-0",
            "+1.5",
            ".5",
            "5.",
            "1_000",
            "0x10",
            "1e400",
            "1e-400",
            "00.50",
            "1..2",
            "1.2.3",
            "-",
            ".",
            "1e",
            "1,5",
            "\uff11",
        ]
    ),
    st.sampled_from(["", " 1", "1 ", "\u0661", "1\\u0030", '1\\"', "1\t"]),
)
others = st.sampled_from(
    [
        '"B":"0"',
        '"f":-1',
        '"L":null',
        '"xx":"a,b}{"',
        '"o2":"7"',
        '"":1',
        '"y":1.5e3',
        '"z":true',
        '"A":"\u5e01"',
    ]
)
nested = st.sampled_from(
    [
        '"N":{"o":"7"}',
        '"M":[1,{"c":"9"}]',
        '"O":[]',
        '"P":{}',
        '"k2":{"t":1}',
        '"d":{"e":"kline"}',
        '"\\u006f":"7"',
    ]
)

values = st.sampled_from(["5", '"5"', "true", '"1m"', '"kline"', "{}", "[]"])


@st.composite
def kline_frames(draw: st.DrawFn, numerals: st.SearchStrategy[str], *, odd: bool) -> bytes:
    """Draw a kline frame: keys in any order, any white space, raw or combined; *odd* ones with surprises."""
    prices = {key: draw(numerals) for _, key in PRICES}
    volumes = {key: draw(numerals) for _, key, _ in VOLUMES}
    whole = st.integers(0, 10**18 - 1) if odd else st.integers(0, 10**12)
    literal = draw(st.sampled_from(["true", "false", *(['"true"', "1", "0", "null", "True", "trux"] * odd)]))
    quoted = [f'"{key}":"{text}"' for key, text in (prices | volumes).items()]
    names = [
        f'"s":"{draw(st.sampled_from([*NAMES, "NEWUSDT"]))}"',
        f'"i":"{draw(st.sampled_from(["1m", "5m", ""]))}"',
    ]
    inner = [*quoted, *names, f'"t":{draw(whole)}', f'"n":{draw(whole)}', f'"x":{literal}']
    outer = ['"e":"kline"', f'"E":{draw(whole)}', '"s":"BTCUSDT"']
    inner += draw(st.lists(others, max_size=2))
    outer += draw(st.lists(others, max_size=2))
    if odd:
        _make_odd(draw, inner, outer)
    space = draw(st.sampled_from(["", "", " ", "\n\t "]))
    k = _object(draw(st.permutations(inner)), space)
    body = _object(draw(st.permutations([*outer, f'"k":{k}'])), space)
    if draw(st.booleans()):
        around = [f'"data":{body}', '"stream":"btcusdt@kline_1m"']
        if odd:
            around += draw(st.lists(st.one_of(others, nested, st.sampled_from(outer)), max_size=1))
        body = _object(draw(st.permutations(around)), space)
    return f"{space}{body}{space}".encode()


def _object(pairs: list[str], space: str) -> str:
    return f"{{{space}" + f"{space},{space}".join(pairs) + f"{space}}}"


def _make_odd(draw: st.DrawFn, inner: list[str], outer: list[str]) -> None:
    """Drop, double or add a field."""
    for pairs in (inner, outer):
        match draw(st.sampled_from(["as it is", "as it is", "drop", "double", "nested"])):
            case "drop":
                pairs.remove(draw(st.sampled_from(pairs)))
            case "double":
                twin = draw(st.sampled_from(pairs)).split(":")[0]
                pairs.append(f"{twin}:{draw(values)}")
            case "nested":
                pairs.append(draw(nested))


@settings(max_examples=150)
@given(kline_frames(plain_numerals, odd=False))
def test_plain_frames_are_read_right_by_the_compiled_path(frame: bytes) -> None:
    flags = assert_never_wrong(frame)
    told = read_plainly(frame)

    assert told is not None
    pairs = ((told.volumes[0], told.volumes[2]), (told.volumes[1], told.volumes[3]))
    same = all(a.as_tuple().exponent == b.as_tuple().exponent or not a or not b for a, b in pairs)
    prices = [text for _, key in PRICES for text in told_of(frame, key)]
    if same and all(int(text.replace(".", "")) <= 2**53 for text in prices):
        assert flags == QUIET


@settings(max_examples=250)
@given(kline_frames(odd_numerals, odd=True))
def test_odd_frames_are_read_right_or_left_alone(frame: bytes) -> None:
    assert_never_wrong(frame)


@settings(max_examples=150)
@given(kline_frames(plain_numerals, odd=False), st.data())
def test_damaged_frames_never_give_a_number_that_is_not_in_them(frame: bytes, data: st.DataObject) -> None:
    damaged = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        match data.draw(st.sampled_from(["cut", "set", "drop", "add"])):
            case "cut":
                del damaged[max(at, 1) :]
            case "set":
                damaged[at] = data.draw(st.sampled_from(b'"{}[],:\\ \x00\xff0e.-tfk'))
            case "drop":
                del damaged[at or 1 : at + data.draw(st.integers(1, 9))]
            case _:
                damaged[at:at] = data.draw(st.sampled_from([b'"', b"}", b",", b"{", b"0", b'"k":{', b"\x80"]))
    frame = bytes(damaged)
    if read_plainly(frame) is not None:
        assert_never_wrong(frame)
        return
    flags, out = parsed(frame)
    if flags == QUIET:
        for word, key in PRICES:
            assert bits(out.view(np.float64)[word]) in {bits(float(text)) for text in told_of(frame, key)}
        for word, key in ((0, "t"), (7, "n"), (EVENT_AT, "E")):
            assert int(out[word]) in {int(text) for text in told_of(frame, key) if text.isdigit()}
    ring = a_ring()
    core = Core(ring, wanted=5)
    core.watch(ring.symbols)
    core.on_batch(0, *packed([frame]), NOW)


def told_of(frame: bytes, key: str) -> list[str]:
    """Give all numerals that a frame's text, JSON or not, has behind a key."""
    found = re.findall(rb'"%s"\s*:\s*"?([0-9.]+)' % key.encode(), frame.replace(b"\x00", b" "))
    return [text.decode() for text in found if text.count(b".") < 2]


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=40), max_size=6))
@example([b"", b"{", b'"', b"{}", b'{"', b'{"k":{'])
def test_any_bytes_are_set_aside_without_an_error(frames: list[bytes]) -> None:
    ring = a_ring()
    core = Core(ring, wanted=5)
    core.watch(ring.symbols)
    core.on_batch(0, *packed(frames), NOW)

    assert not ring.memory.state.any()


def odd_frames() -> list[dict[str, str]]:
    lines = ODD_FRAMES.read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("odd", odd_frames(), ids=lambda odd: odd["why"].replace(" ", "-"))
def test_the_odd_frames_of_the_past(odd: dict[str, str]) -> None:
    frame = odd["frame"].encode("latin-1")
    ring = a_ring()
    core = Core(ring, wanted=5)
    core.watch(ring.symbols)
    core.on_batch(0, *packed([frame]), NOW)
    flags, out = parsed(frame)
    told = read_plainly(frame)

    rows = all_rows(ring)
    match odd["means"]:
        case "kept":
            assert told is not None
            assert rows[told.symbol, told.timeframe, told.open_time][0] == kept_as(told, ring.scale(0))
        case "nothing":
            assert (rows, core.counts.set_aside) == ({}, 0)
        case _:
            assert (rows, core.counts.set_aside) == ({}, 1)
    if flags == QUIET and out[ROW_AT] >= 0 and out[TIMEFRAME_AT] >= 0:
        assert told is not None
        assert_equal(out, told)


def reports(*frames: bytes, ring: Any = None) -> list[list[int]]:
    ring = ring or a_ring()
    where = directory(ring.symbols, ring.timeframes, ring.streamed)
    lines = np.zeros((3 * len(frames), 5), np.int64)
    count = int(ingest(ring.memory, where, *packed(frames), NOW, lines, np.zeros(1, np.int64)))
    return [line.tolist() for line in lines[:count]]


def test_only_what_python_has_to_know_is_reported() -> None:
    update = event(bar(TIME))
    close = event(bar(TIME, x=True), at=TIME + 60_000)

    assert reports(update) == []
    assert reports(update, close, update) == [[CLOSED_NOW, 1, 0, 0, TIME]]
    assert [line[0] for line in reports(event(bar(TIME, symbol="NEWUSDT")))] == [UNLISTED]
    assert [line[0] for line in reports(event(bar(TIME, timeframe="5m")))] == [UNLISTED]
    assert [line[:2] for line in reports(update, b'{"result":null,"id":1}')] == [[UNUSUAL, 1]]


def test_a_larger_bar_that_closes_with_its_last_part_is_reported_too() -> None:
    start = TIME // 300_000 * 300_000
    closes = [event(bar(start + 60_000 * n, x=True), at=TIME + 10**6) for n in range(5)]

    lines = reports(*closes)
    assert [line[:1] + line[2:] for line in lines[-2:]] == [
        [CLOSED_NOW, 0, 1, start],
        [CLOSED_NOW, 0, 0, start + 240_000],
    ]
    assert len(lines) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"h": "101.99", "o": "102.00", "l": "99.00"},
        {"l": "100.51"},
        {"c": "102.26"},
        {"t": TIME + 1},
        {"t": TIME + 60_000},
    ],
)
def test_a_kline_that_contradicts_itself_is_bad(changes: dict[str, Any]) -> None:
    ring = a_ring()

    frame = event(bar(TIME, **changes), at=TIME + 500)
    assert [line[0] for line in reports(frame, ring=ring)] == [BAD]
    assert not ring.memory.state.any()
    assert ring.scale(0) == Scale(2, 3, 5)


@pytest.mark.parametrize(
    ("changes", "scale"),
    [({"v": "1.2345", "V": "0.0000"}, Scale(2, 4, 5)), ({"q": "1.0000000"}, Scale(2, 3, 7))],
)
def test_more_decimals_than_the_row_has_widen_it(changes: dict[str, Any], scale: Scale) -> None:
    changes |= {"Q": "0"} if "q" in changes else {}
    frame = event(bar(TIME, **changes))
    ring = a_ring()
    core = Core(ring, wanted=5)
    core.watch(ring.symbols)

    assert [line[0] for line in reports(frame)] == [WIDER]
    core.on_batch(0, *packed([frame]), NOW)
    told = read_plainly(frame)
    assert ring.scale(0) == scale
    assert told is not None
    assert all_rows(ring)["BTCUSDT", "1m", TIME][0] == kept_as(told, scale)


def test_a_volume_that_overflows_with_the_decimals_kept_is_set_aside() -> None:
    """It was multiplied past 64 bits and kept as whatever was left."""
    frame = event(bar(TIME, v="123456789012345678", V="0"))
    ring = a_ring()
    core = Core(ring, wanted=5)
    core.watch(ring.symbols)
    core.on_batch(0, *packed([frame]), NOW)

    assert core.counts.set_aside == 1
    assert "does not fit 64 bits" in core.last_fault
    assert not ring.memory.state.any()


def test_prices_with_more_decimals_are_remembered_for_printing() -> None:
    ring = a_ring()
    reports(event(bar(TIME, o="100.505")), ring=ring)

    assert ring.scale(0).price == 3


@pytest.mark.parametrize("count", [1, 2, 300])
def test_symbols_are_found_by_all_of_their_bytes(count: int) -> None:
    names = [f"{'X' * (n % 7)}{n}USDT" for n in range(count)] + ["币安人生USDT", "我踏马来了USDT"]
    ring = a_ring(names, frames=MINUTES[:1], bars=2)
    frames = [event(bar(TIME, symbol=name, n=row + 1)) for row, name in enumerate(names)]
    unknown = [event(bar(TIME, symbol=name[:-1])) for name in names] + [event(bar(TIME, symbol=""))]

    assert {line[0] for line in reports(*unknown, ring=ring)} == {UNLISTED}
    assert reports(*frames, ring=ring) == []
    assert ring.memory.cells[0, :, TIME // 60_000 % 2, 7].tolist() == list(range(1, len(names) + 1))


# Recordings of the real exchange.


def fed(frames: list[bytes], symbols: list[str]) -> tuple[Core, list[Decisions]]:
    ring = a_ring(symbols, Scale(0, 0, 0), in_order(["1m"]), bars=64)
    core = Core(ring, wanted=5)
    core.watch(symbols)
    return core, [core.on_batch(0, *packed(frames[at : at + 50]), NOW) for at in range(0, len(frames), 50)]


def recorded(realdata: Path, name: str) -> list[tuple[str, bytes]]:
    lines = (realdata / "raw_ws" / name).read_text().splitlines()
    return [
        (json.loads(line).get("src") or json.loads(line)["market"], json.loads(line)["raw"].encode())
        for line in lines
    ]


@pytest.mark.parametrize("name", ["kline_frames_only.jsonl", "single_frames_found.jsonl"])
def test_recorded_kline_frames_equal_json_and_decimal(realdata: Path, name: str) -> None:
    frames = [frame for _, frame in recorded(realdata, name)]
    told = [one for one in map(read_plainly, frames) if one is not None]
    assert told
    core, _ = fed(frames, sorted({one.symbol for one in told}))

    kept = all_rows(core.ring)
    last = {(one.symbol, one.timeframe, one.open_time): one for one in told if one.timeframe == "1m"}
    assert kept.keys() == last.keys()
    for key, one in last.items():
        assert kept[key][0] == kept_as(one, core.ring.scale(core.ring.rows[one.symbol]))
        assert kept[key][1] == (CLOSED if one.closed else FORMING)
    assert core.counts.conflicts == 0


def test_recorded_usdm_frames_take_the_compiled_path_once_the_decimals_are_known(realdata: Path) -> None:
    frames = [f for src, f in recorded(realdata, "kline_frames_only.jsonl") if src == "BINANCE_FUTURES"]
    told = [one for one in map(read_plainly, frames) if one is not None]
    symbols = sorted({one.symbol for one in told})
    core, _ = fed(frames, symbols)
    where = directory(symbols, core.ring.timeframes, core.ring.timeframes)
    lines = np.zeros((2 * len(frames), 5), np.int64)

    count = int(ingest(core.ring.memory, where, *packed(frames), NOW, lines, np.zeros(1, np.int64)))
    assert len(frames) == 67
    assert not [line for line in lines[:count].tolist() if line[0] & (UNUSUAL | WIDER | BAD | UNLISTED)]


@pytest.mark.parametrize(
    "name", ["BINANCE", "BINANCE_DELIVERY", "BINANCE_FUTURES", "BINANCE_TR", "BINANCE_US"]
)
def test_every_recorded_frame_goes_through(realdata: Path, name: str) -> None:
    path = realdata / "raw_ws" / f"cryptofeed_{name}.ws.1.0.txt.gz"
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        frames = [line.split(": ", 1)[1].strip().encode() for line in lines if re.match(r"\d+\.\d+: ", line)]
    assert len(frames) > 100
    told = [one for one in map(read_plainly, frames) if one is not None]
    core, decisions = fed(frames, sorted({one.symbol for one in told}))

    assert core.counts.set_aside == 0, core.last_fault
    assert core.counts.updates == len(frames)
    assert all_rows(core.ring).keys() == {(one.symbol, "1m", one.open_time) for one in told}
    assert not any(one.steps or one.fetches or one.leaving for one in decisions)
