"""The board in a terminal against a demo: printed once, as a document, in its window, and by address."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from tests.e2e.conftest import AT, Run, started

from klinehub.app.terminal.client import BoardClient, Place
from klinehub.app.terminal.table_view import MarketTable
from klinehub.app.terminal.vocabulary import Vocabulary
from klinehub.app.terminal.watched import Watched
from klinehub.app.terminal.window import Window
from klinehub.app.terminal.wishes import Wishes
from klinehub.factors.stock import BY_NAME

pytestmark = pytest.mark.timeout(150)
SYMBOLS = 12
TOKEN = "demo-0123456789-abcdefghij"


class Demo(NamedTuple):
    """A demo that runs: the folder of its door, and where it is served."""

    folder: Path
    url: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    command = ("demo", "--symbols", str(SYMBOLS), "--seed", "5", "--at", AT, "--json")
    with started(*command, folder=folder, env={"KLINEHUB_SERVE_TOKEN": TOKEN}) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        served = (re.search(r"serving: (\S+)", line) for line in process.stderr)
        found = next((match for match in served if match), None)
        assert found is not None
        # The first ranking says that it is live.
        assert process.stdout.readline()
        yield Demo(folder, found[1])
        process.terminate()
        process.communicate()
        assert process.returncode == 143


@pytest.fixture
def top(run: Run, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `top` beside the demo."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(demo.folder))
    return lambda *arguments: run("top", *arguments)


def test_once_prints_the_table_as_text(top: Run) -> None:
    done = top("--once", "--top", "3", "--columns", "rsi,zscore(volume_surge)", "--tz", "Asia/Shanghai")

    assert done.code == 0, done
    title, head, *lines = done.out.splitlines()
    assert re.fullmatch(r"simulated exchange  15m bar of \d{4}-\d\d-\d\d \d\d:\d\d:00 CST", title)
    assert head.split()[:3] == ["symbol", "price", "15m"]
    assert "rsi zscore(volume_sur…" in head
    assert sum("USDT" in line for line in lines) == 3
    assert f"{SYMBOLS}" in lines[3]
    assert "fresh" in lines[4]


def test_a_document_has_all_lines_sorted_and_filtered(top: Run) -> None:
    everything = json.loads(top("--json", "--columns", "rsi").out)
    found = json.loads(top("--json", "--columns", "rsi", "--where", "rsi > 50", "--sort", "rsi").out)

    rsi = {row["symbol"]: row["columns"]["rsi"] for row in everything["rows"]}
    assert len(rsi) == everything["symbols"] == everything["passing"] >= SYMBOLS
    assert all(sum(row["contributions"].values()) == row["score"] for row in everything["rows"])
    assert [row["columns"]["rsi"] for row in found["rows"]] == sorted(
        row["columns"]["rsi"] for row in found["rows"]
    )
    assert all(row["columns"]["rsi"] > 50 for row in found["rows"])
    scores = [row["score"] for row in everything["rows"]]
    assert scores == sorted(scores, reverse=True)


def test_a_served_hub_is_asked_with_its_secret(run: Run, demo: Demo, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = run("top", "--once", "--url", demo.url)
    by_path = run("top", "--once", "--url", f"{demo.url}/c/{TOKEN}/")
    monkeypatch.setenv("KLINEHUB_SERVE_TOKEN", TOKEN)
    by_header = run("top", "--once", "--url", demo.url)

    assert (refused.code, by_path.code, by_header.code) == (2, 0, 0), (refused, by_path, by_header)
    assert "KLINEHUB_SERVE_TOKEN" in refused.err
    assert TOKEN not in refused.err + by_path.out + by_path.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--where", "rsii < 3"), "--where: Column 1 (`rsii < 3`): Unknown name 'rsii'. Did you mean 'rsi'?"),
        (("--columns", "rsi,adxx"), "the column 'adxx': "),
        (("--timeframe", "7m"), "Unknown timeframe of the hub '7m'"),
        (("--preset", "momentun"), "Did you mean 'momentum'?"),
        (("--url", "nowhere"), "--url is where a hub is served"),
    ],
)
def test_what_cannot_be_shown_is_told(top: Run, arguments: tuple[str, ...], said: str) -> None:
    done = top("--once", *arguments)

    assert done.code == 2, done
    assert said in done.err
    assert done.out == ""


def test_without_a_hub_it_says_how_to_start_one(run: Run) -> None:
    done = run("top", "--once")

    assert done.code == 1
    assert "klinehub run" in done.err


async def test_the_window_follows_the_demo(demo: Demo, tmp_path: Path) -> None:
    door = demo.folder / "klinehub" / "hub.sock"
    async with BoardClient(Place(door), lambda: 0.5) as client:
        marks = Watched(tmp_path / "watched.txt")
        window = Window(client, Wishes(), Vocabulary(BY_NAME), marks, ZoneInfo("UTC"), palette="green-red")
        async with window.run_test(size=(200, 50)) as pilot:
            table = window.query_one(MarketTable)

            def written() -> list[str]:
                return [table.render_line(y).text for y in range(1, table.size.height)]

            async def until_lines(least: int, most: int) -> list[str]:
                while not least <= (count := sum("USDT" in line for line in written())) <= most or not count:
                    await pilot.pause(0.05)
                return written()

            first = await until_lines(SYMBOLS, 2 * SYMBOLS)
            assert any("▁" in line for line in first)
            await pilot.press("slash", *"score > 0", "enter")
            passing = await until_lines(1, SYMBOLS - 1)
            assert all("-" not in line.split()[5] for line in passing if "USDT" in line)
            await pilot.press("q")
