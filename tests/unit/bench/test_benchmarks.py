"""Each benchmark runs at a tiny size and gives what the documents promise; figures are not judged here."""

import json
import shutil
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from klinehub.app import measure as command
from klinehub.bench import (
    alerts,
    batch,
    board,
    bridge,
    catalogue,
    day,
    evidence,
    flip,
    footprint,
    heal,
    ingest,
    kill,
    markets,
    parity,
    power,
    read,
    scan,
    serve,
    store,
    storm,
    three_ways,
    warmup,
)
from klinehub.bench.blaster import Orders
from klinehub.bench.catalogue import MEANINGS, Entry, Measurement, chosen, commit, rounded, take
from klinehub.bench.certificate import certificate
from klinehub.bench.script import FRAMES, write
from klinehub.domain.timeframe import MINUTE
from klinehub.errors import DefinitionError, UnknownName
from klinehub.panel.memory import CLOSE

# Compiling what a first run of a hub needs may come on top.
pytestmark = pytest.mark.timeout(300)

TINY: dict[str, Callable[[], Measurement]] = {
    "ingest": lambda: ingest.measure(1, symbols=6, moments=8, rounds=1, paced=60, rate=2_000),
    "warmup": lambda: warmup.measure(1, symbols=8, bars=20, starts=(30,)),
    "read": lambda: read.measure(1, symbols=5, bars=40, limit=30, reads=20, rounds=2),
    "scan": lambda: scan.measure(1, symbols=5, bars=80, closes=10, live=2),
    "alerts": lambda: alerts.measure(1, symbols=5, closes=12, evaluations=40),
    "parity": lambda: parity.measure(1, symbols=6, cuts=3),
    "three_ways": lambda: three_ways.measure(1, symbols=8, size=8, rounds=2),
    "heal": lambda: heal.measure(1, symbols=4, bars=20),
    "storm": lambda: storm.measure(1, symbols=4, bars=20),
    "day": lambda: day.measure(1, symbols=4, hours=1),
    "batch": lambda: batch.measure(1, symbols=8, bars=20, sizes=(2, 8)),
    "kill": lambda: kill.measure(1, n=2, symbols=4),
    "flip": lambda: flip.measure(1, n=20, symbols=2),
    "power": lambda: power.measure(1, n=30, commits=40),
    "board": lambda: board.measure(1, symbols=5, bars=300, looks=1, closes=1, rounds=2),
    "evidence": lambda: evidence.measure(1, symbols=8, bars=600, rows=200, year=400),
    "bridge": lambda: bridge.measure(1, symbols=4, closes=1, rate=20.0),
    "store": lambda: store.measure(1, symbols=4, appends=5, depths=(30,), days=2),
}


@pytest.fixture(scope="module")
def measured() -> dict[str, Measurement]:
    return {name: run() for name, run in TINY.items()}


def test_every_benchmark_has_a_meaning_a_file_and_a_test() -> None:
    # These start processes, and a browser; what they are made of is tested by itself.
    assert set(TINY) | {"footprint", "serve", "page", "cluster", "markets", "sweep"} == set(MEANINGS)


@pytest.mark.parametrize("name", TINY)
def test_a_benchmark_gives_a_figure_with_its_unit_and_detail(
    name: str, measured: dict[str, Measurement]
) -> None:
    taken = measured[name]
    assert taken.value == taken.value
    assert taken.unit in {"us", "ms", "s", "MB", "values", "bars", "flips", "cuts", "bars/s"}
    assert taken.detail
    json.dumps(taken.detail)


def test_ingest_compares_the_ring_with_the_text_and_measures_each_kind_of_line(
    measured: dict[str, Measurement],
) -> None:
    detail = measured["ingest"].detail
    assert detail["equal"] is True
    assert detail["compared"] >= 6 * 5
    assert detail["beyond_2_53"] > 0
    for name in ("saturated_native", "paced", "paced_one_socket", "paced_native"):
        assert detail[name]["us"] > 0
    if shutil.which("openssl"):
        assert detail["tls"]["us"] > 0
        assert detail["tls_paced"]["us"] > 0
    else:
        assert detail["tls"] is None
        assert "openssl" in detail["tls_reason"]


def test_ingest_notices_a_bar_that_is_not_there_and_one_wrong_bit() -> None:
    script = write(1, FRAMES[:1], symbols=3, start=ingest.START, minutes=2, moments=4)
    orders = Orders({}, "", None)
    core = ingest.filled(ingest.Play(script, native=False, per_socket=200, orders=orders, sockets=1))
    bars = {(one.series, one.time // MINUTE) for one in script.frames}
    assert ingest.compare(core, script)["different"] >= len(bars) - len(script.symbols)
    buf = np.frombuffer(b"".join(one.text for one in script.frames), np.uint8)
    ends = np.cumsum([len(one.text) for one in script.frames]).astype(np.int64)
    core.on_batch(0, buf, ends, len(ends), script.frames[-1].time)
    assert ingest.compare(core, script)["equal"] is True
    memory = core.ring.memory
    memory.cells[0, 1, memory.newest[0, 1] % core.ring.bars, CLOSE] ^= 1
    assert ingest.compare(core, script)["different"] == 1


def test_without_openssl_ingest_says_why_tls_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "openssl" in str(certificate(tmp_path))


def test_warmup_tells_bound_weight_and_refusals_of_each_start(measured: dict[str, Measurement]) -> None:
    start = measured["warmup"].detail["from_second"]["30"]
    assert start["refused"] == 0
    assert start["failed"] == 0
    assert start["weight"] == start["documented_minimum"] + 42
    assert start["bound"] == 0.0


def test_the_bound_is_the_whole_minutes_that_the_weight_takes() -> None:
    assert warmup.bound(4240, 1920, 5) == 115.0
    assert warmup.bound(4240, 1920, 55) == 65.0
    assert warmup.bound(1920, 1920, 5) == 0.0
    assert warmup.bound(1921, 1920, 5) == 55.0


def test_the_three_ways_score_the_same_symbols_and_the_cache_is_fastest(
    measured: dict[str, Measurement],
) -> None:
    detail = measured["three_ways"].detail
    assert detail["symbols"] == 8
    assert detail["serial_seconds"] > detail["batch_seconds"] > detail["cache_seconds"]


def test_larger_batches_take_less_virtual_time(measured: dict[str, Measurement]) -> None:
    sizes = measured["batch"].detail["sizes"]
    assert sizes["2"]["seconds"] > sizes["8"]["seconds"]


def test_reads_are_full(measured: dict[str, Measurement]) -> None:
    assert measured["read"].detail["full"] is True


def test_a_scan_is_measured_beside_its_peers(measured: dict[str, Measurement]) -> None:
    detail = measured["scan"].detail
    assert (detail["symbols"], detail["timeframes"], detail["factors"]) == (5, 3, 30)
    assert detail["bar_close_us"]["p50"] > 0
    assert detail["larger"]["symbols"] == 20
    assert detail["larger"]["a_symbol_x"] > 0
    assert detail["close_to_result_ms"]["p99"] > 0
    assert detail["talib_loop_ms"] > 0
    assert detail["numpy_ms"] > 0


def test_live_and_history_are_held_together_and_planted_leaks_are_caught(
    measured: dict[str, Measurement],
) -> None:
    detail = measured["parity"].detail
    assert detail["comparisons"] > 1_000
    assert (detail["bit_mismatches"], detail["lookahead_leaks"]) == (0, 0)
    assert detail["planted_leaks_caught"] == len(detail["planted_leaks"]) == 3
    assert detail["talib_max_rel"] <= 1e-9


def test_a_store_is_measured_from_an_append_to_a_restart(measured: dict[str, Measurement]) -> None:
    detail = measured["store"].detail
    assert detail["append_ms"]["p99"] >= detail["append_ms"]["p50"] > 0
    assert detail["restart"]["restored"] >= 4 * 4 * 29
    assert detail["restart_to_fresh_s"] > detail["restart_to_serving_s"] > 0
    assert detail["cold_start"]["restored"] == 0
    assert detail["restart"]["requests"] < detail["cold_start"]["requests"]
    for name in ("fsync_floor_ms", "restore_s", "scan_symbol_year_s", "scan_market_day_s"):
        assert detail[name] > 0
    assert "not measured" in detail["postgres"]


@pytest.mark.slow
def test_serve_tells_of_rest_streams_and_shared_reads() -> None:
    taken = serve.measure(1, symbols=12, seconds=1.0, compared=10, clients=10, reads=1_000)

    told = taken.detail
    assert taken.value > 0
    assert (told["bodies_equal"], told["not_200"]) == (10, 0)
    assert (told["ws_clients"], told["stalled_clients"], told["closes_dropped"]) == (10, 1, 0)
    assert (told["torn_reads"], told["attach_us"]["p50"] > 0) == (0, True)


def test_footprint_tells_memory_traffic_and_cpu_of_a_hub_of_its_own() -> None:
    taken = footprint.measure(1, symbols=6, small=3, bars=20, seconds=1.0, cold=False)
    assert taken.value == taken.detail["peak_mb"] > taken.detail["panel_mb"]
    assert taken.detail["missing_bars"] == 0
    assert taken.detail["small"]["symbols"] == 3
    assert {"received_mb_per_day", "cpu_share", "panel_bytes_per_bar"} <= set(taken.detail)


def test_markets_tells_what_two_markets_take_together() -> None:
    taken = markets.measure(1, symbols=16, bars=20, seconds=1.0)
    told = taken.detail["markets"]
    assert (taken.unit, taken.value) == ("%", taken.detail["cpu_percent"])
    assert [told[name]["missing_bars"] for name in ("binance-usdm", "binance-spot")] == [0, 0]
    assert taken.detail["symbols"] == sum(one["symbols"] for one in told.values()) > 16


def test_an_unknown_name_is_refused_before_anything_runs() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'ingest'"):
        chosen(("read", "ingets"))


def test_no_name_means_all_and_doubles_run_once() -> None:
    assert chosen(()) == tuple(MEANINGS)
    assert chosen(("scan", "read", "scan")) == ("scan", "read")


def test_an_entry_has_what_is_needed_to_compare_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "measure", lambda _: Measurement(12.0, "us", {"goal": 15.0}))
    entry = take("read", 7)
    assert (entry.value, entry.unit, entry.seed, entry.detail) == (12.0, "us", 7, {"goal": 15.0})
    assert entry.commit
    assert entry.load >= 0


def test_outside_of_a_checkout_the_version_stands_for_the_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        catalogue, "__file__", str(tmp_path / "site-packages" / "klinehub" / "bench" / "x.py")
    )
    assert commit() == metadata.version("klinehub")


def test_figures_are_rounded_to_what_they_are_worth() -> None:
    assert rounded(123.456) == 123.5
    assert rounded(0.00123456) == 0.001235


def _entry() -> Entry:
    return Entry(12.3, "us", {"goal": 15.0}, "abc", 1, 0.5)


def test_the_command_prints_one_document_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "take", lambda _, n: _entry())
    command.bench(("read", "scan"), show_list=False, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert list(document) == ["read", "scan"]
    assert set(document["read"]) == {"value", "unit", "commit", "seed", "load", *_entry().detail}


def test_the_command_says_how_often_to_try_what_can_be_tried_often(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kill, "measure", lambda _, n: Measurement(n, "bars", {}))
    monkeypatch.setattr(read, "measure", lambda _: Measurement(0, "us", {}))
    command.bench(("kill", "read"), n=3, show_list=False, as_json=True)
    assert json.loads(capsys.readouterr().out)["kill"]["value"] == 3
    with pytest.raises(DefinitionError, match="name one of them"):
        command.bench(("read",), n=3, show_list=False, as_json=True)


def test_the_command_lists_without_measuring(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "take", lambda _: pytest.fail("measured"))
    command.bench((), show_list=True, as_json=True)
    assert json.loads(capsys.readouterr().out) == MEANINGS


def test_the_command_refuses_an_unknown_name() -> None:
    with pytest.raises(UnknownName, match="benchmark"):
        command.bench(("nope",), show_list=False, as_json=True)
