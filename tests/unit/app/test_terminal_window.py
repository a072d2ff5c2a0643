"""The board's window in a terminal: keys, what is told in place, and a hub that goes and comes back."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import pytest
from tests.unit.app.fake_board import HELLO, START, FakeHub, at_door
from textual.pilot import Pilot
from textual.widget import Widget
from textual.widgets import Input, OptionList, Static

from klinehub.app.terminal.choice import Choice, Help
from klinehub.app.terminal.client import BoardClient, Place
from klinehub.app.terminal.detail import Detail
from klinehub.app.terminal.filter_box import FilterBox
from klinehub.app.terminal.vocabulary import Vocabulary
from klinehub.app.terminal.watched import Watched
from klinehub.app.terminal.window import NO_PRESET, Window
from klinehub.app.terminal.wishes import Wishes
from klinehub.domain.timeframe import DAY
from klinehub.errors import UnknownName
from klinehub.factors.stock import BY_NAME

NAMES = ("AUSDT", "BUSDT", "CUSDT", "DUSDT", "<img src=x>USDT", "币安人生USDT")
LOOKS = 400
VIEW = {"id": 1, "timeframe": "15m", "columns": ["rsi", "trend"], "where": ""}


def text_of(widget: Widget) -> str:
    """Give what a widget shows, as text."""
    return "\n".join(widget.render_line(y).text.rstrip() for y in range(widget.size.height))


class Shown(NamedTuple):
    """A window that is driven by keys, and the hub that it shows."""

    hub: FakeHub
    window: Window
    pilot: Pilot[None]

    def part(self, query: str) -> str:
        """What a part of the board's own layer shows."""
        return text_of(self.window.screen_stack[0].query_one(query))

    def lines(self) -> list[str]:
        """The lines of the table below its head, as they are written."""
        return [line for line in self.part("MarketTable").split("\n")[1:] if line]

    def symbols(self) -> list[str]:
        """The first words of the lines, without their marks."""
        return [line[3:].split("  ")[0] for line in self.lines()]

    async def type(self, text: str) -> None:
        """Open the filter's box and type into it."""
        await self.pilot.press("slash")
        line = self.window.query_one(Input)
        line.insert_text_at_cursor(text)
        await self.until(lambda: line.value.endswith(text))

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def until(self, holds: Callable[[], object]) -> None:
        """Go on until something holds."""
        for _ in range(LOOKS):
            if holds():
                return
            await self.pilot.pause(0.02)
        raise AssertionError("\n".join(text_of(one) for one in self.window.screen.query("*")))


@asynccontextmanager
async def shown(
    folder: Path,
    *,
    wishes: Wishes | None = None,
    size: tuple[int, int] = (100, 24),
    hub: FakeHub | None = None,
) -> AsyncIterator[Shown]:
    """Show a fake hub's board with its first table."""
    hub = hub or FakeHub(NAMES)
    async with (
        at_door(hub, folder / "hub"),
        # What the fake tells comes from the tests: it may be quiet for long.
        BoardClient(Place(folder / "hub"), lambda: 0.0, quiet=600.0) as client,
    ):
        window = Window(
            client,
            wishes or Wishes(),
            Vocabulary(BY_NAME),
            Watched(folder / "watched.txt"),
            ZoneInfo("Asia/Shanghai"),
            palette="green-red",
        )
        async with window.run_test(size=size) as pilot:
            one = Shown(hub, window, pilot)
            yield one


@pytest.fixture
async def board(tmp_path: Path) -> AsyncIterator[Shown]:
    async with shown(tmp_path) as one:
        await one.until(lambda: len(one.lines()) == len(NAMES))
        yield one


def asked(one: Shown) -> dict[str, Any]:
    """The newest view that the hub was asked for."""
    return [each for each in one.hub.asked if each["type"] == "view"][-1]


async def test_the_market_is_shown_by_its_score_the_largest_first(board: Shown) -> None:
    scores = board.hub.table({**VIEW, "columns": []})["score"]
    ranked = [name for _, name in sorted(zip(scores, NAMES, strict=True), reverse=True)]

    assert board.symbols() == ranked
    assert "simulated exchange  15m  bar 19:45 CST" in board.part("#head")
    assert "6 of 6" in board.part("#head")
    assert "6 up" in board.part("#standing")
    assert "6 of 6 fresh  lag 0.21/0.9 s  0 gaps  weight 320/2400  3/3 sockets" in board.part("#health")
    assert ranked[0] in board.part("#chosen")


async def test_names_of_the_exchange_are_text(board: Shown) -> None:
    assert {"<img src=x>USDT", "币安人生USDT"} <= set(board.symbols())


async def test_sorting_goes_through_the_columns_and_turns_round(board: Shown) -> None:
    await board.press("s")
    await board.until(lambda: "rsi↓" in board.part("MarketTable"))
    down = board.symbols()

    await board.press("S")
    await board.until(lambda: "rsi↑" in board.part("MarketTable"))

    assert board.symbols() == down[::-1]


async def test_a_click_on_a_head_sorts_by_it(board: Shown) -> None:
    await board.pilot.click("MarketTable", offset=(5, 0))
    await board.until(lambda: "symbol↑" in board.part("MarketTable"))

    assert board.symbols() == sorted(NAMES)


async def test_the_chosen_line_stays_with_its_symbol(board: Shown) -> None:
    await board.press("down", "j")
    chosen = board.symbols()[2]
    await board.until(lambda: chosen in board.part("#chosen"))

    view = asked(board)
    table = board.hub.table(view)
    await board.hub.tell({**table, "score": [-one for one in table["score"]]})

    await board.until(lambda: board.symbols().index(chosen) == 3)
    assert chosen in board.part("#chosen")


async def test_a_filter_leaves_lines_out(board: Shown) -> None:
    await board.type("rsi < 30")
    await board.press("enter")
    await board.until(lambda: len(board.lines()) == 3)

    assert asked(board)["where"] == "rsi < 30"
    assert not board.window.query_one(FilterBox).display
    assert "3 of 6  rsi < 30" in board.part("#head")


async def test_a_filter_is_checked_as_it_is_typed_and_left_as_it_was(board: Shown) -> None:
    await board.type("age > 1d and rsii < 3")

    await board.until(lambda: "Did you mean 'rsi'?" in board.part("FilterBox Static"))
    wrong, mark = [line for line in board.part("FilterBox Static").split("\n") if line][:2], " " * 13 + "^"
    assert wrong[0] == mark
    await board.press("escape")

    assert len(board.hub.asked) == 1
    assert len(board.lines()) == len(NAMES)


async def test_a_filter_that_the_hub_refuses_is_told_in_its_box(
    board: Shown,
) -> None:
    board.hub.rejected.add("rsi < 1")
    await board.type("rsi < 30")
    await board.press("enter")
    await board.until(lambda: len(board.lines()) == 3)

    await board.press("slash", *["backspace"] * 2, "1", "enter")

    await board.until(lambda: asked(board)["where"] == "rsi < 30" and len(board.hub.asked) == 4)
    await board.until(lambda: "Did you mean 'rsi'?" in board.part("FilterBox Static"))
    assert board.window.query_one(Input).value == "rsi < 1"
    await board.until(lambda: len(board.lines()) == 3)


async def test_words_are_completed(board: Shown) -> None:
    await board.type("volume_s")
    line = board.window.query_one(Input)
    await board.until(lambda: line._suggestion)

    await board.press("tab", *" > 2 and rsi_1")
    await board.until(lambda: line._suggestion.endswith("rsi_1m"))

    assert line.value == "volume_surge > 2 and rsi_1"


async def test_timeframes_go_round(board: Shown) -> None:
    await board.press("t")
    await board.until(lambda: " 1h " in board.part("#head"))
    await board.press("t")
    await board.until(lambda: " 1m " in board.part("#head"))
    await board.press("T")
    await board.until(lambda: " 1h " in board.part("#head"))


async def test_a_preset_is_chosen_and_taken_back(board: Shown) -> None:
    await board.press("p")
    await board.until(lambda: isinstance(board.window.screen, Choice))
    said = text_of(board.window.screen.query_one(OptionList))
    assert said.index(NO_PRESET) < said.index("default") < said.index("momentum  ")
    await board.press("j", "j", "enter")

    await board.until(lambda: "momentum↓" in board.part("MarketTable"))
    assert asked(board)["where"] == "trend > 0.5 and adx > 20"
    assert asked(board)["columns"] == ["momentum", "trend", "adx"]

    await board.press("r")
    await board.until(lambda: "score↓" in board.part("MarketTable"))
    assert asked(board)["where"] == ""


async def test_prices_that_move_are_marked_for_a_moment(board: Shown) -> None:
    await board.hub.tell(board.hub.prices([0], [1.0]))
    await board.until(lambda: board.window._board.moved)

    await board.until(lambda: not board.window._board.moved)

    line = next(one for one in board.lines() if "AUSDT" in one)
    assert "1.0000" in line
    assert "12.3M" in line


async def test_what_is_frozen_does_not_move(board: Shown) -> None:
    await board.press("f")
    await board.until(lambda: "FROZEN" in board.part("#head"))
    before = board.lines()
    await board.hub.tell(board.hub.prices(range(6), [7.0] * 6))
    await board.hub.tell(board.hub.health(gaps=5))
    await board.until(lambda: board.window._board.value("price", 0) == 7.0)
    during = board.lines()

    await board.press("f")

    await board.until(lambda: all("7.0000" in one for one in board.lines()))
    assert during == before


async def test_marks_are_kept_and_shown_alone(board: Shown, tmp_path: Path) -> None:
    first, second = board.symbols()[:2]
    await board.press("down", "w", "W")

    await board.until(lambda: board.symbols() == [second])
    assert board.lines()[0].startswith("*")
    assert (tmp_path / "watched.txt").read_text() == f"{second}\n"

    await board.press("w")
    await board.until(lambda: "no symbol is watched" in board.part("MarketTable"))
    await board.press("W")
    await board.until(lambda: board.symbols()[0] == first)


async def test_marks_that_cannot_be_kept_are_told(tmp_path: Path) -> None:
    (tmp_path / "watched.txt").mkdir()
    async with shown(tmp_path) as one:
        await one.until(lambda: len(one.lines()) == len(NAMES))
        await one.press("w")

        await one.until(lambda: one.lines()[0].startswith("*"))
        assert "Marks are not kept" in str(next(iter(one.window._notifications)).message)


async def test_stale_rows_say_why(board: Shown) -> None:
    board.hub.hello = HELLO
    row = NAMES.index(board.symbols()[0])
    await board.hub.tell(board.hub.stale({row: "closed bars are missing"}))
    await board.hub.tell(board.hub.health(stale=1, fresh=5, reasons={"closed bars are missing": 1}))

    await board.until(lambda: "stale since 20:00:00 CST: closed bars are missing" in board.part("#chosen"))
    await board.until(lambda: "1 stale: closed bars are missing" in board.part("#health"))


async def test_a_ban_and_lost_sockets_stand_in_the_strip_of_health(board: Shown) -> None:
    rest = {"open": False, "why": "banned until 2026-03-05 12:00:00 UTC", "until": START}
    sockets = {"up": 1, "all": 3, "loss": "reset", "reconnects": 4, "last_reconnect": 0}
    said = "weight 320/2400  1/3 sockets  REST is banned until 2026-03-05 20:00:00 CST"
    await board.hub.tell(board.hub.health(rest=rest, sockets=sockets))

    await board.until(lambda: said in board.part("#health"))


async def test_a_detail_says_why_and_goes_through_the_lines(board: Shown) -> None:
    first, second = board.symbols()[:2]
    await board.press("enter")
    await board.until(lambda: isinstance(board.window.screen, Detail))
    detail = board.window.screen

    await board.until(lambda: first in text_of(detail.query_one("#title")))
    await board.until(lambda: "1.1000" in text_of(detail.query_one("#bars")))
    why = text_of(detail.query_one("#why"))
    assert "what made the score" in why
    assert why.index("trend") < why.index("rsi") < why.index("macd")
    assert "█" in text_of(detail.query_one("#chart"))
    await board.press("down")
    await board.until(lambda: second in text_of(detail.query_one("#title")))

    await board.press("escape")
    await board.until(lambda: not isinstance(board.window.screen, Detail))
    assert second in board.part("#chosen")


async def test_a_detail_says_what_came_after_scores_like_this_or_that_nobody_knows(board: Shown) -> None:
    await board.press("enter")
    await board.until(lambda: isinstance(board.window.screen, Detail))

    def why() -> str:
        return text_of(board.window.screen.query_one("#why"))

    await board.until(lambda: "no evidence: `klinehub evidence calibrate`" in why())
    outcome = {"bars": 24, "n": 120, "median": 0.0021, "interval": [-0.001, 0.005], "hit_rate": 0.53}
    bucket = {"low": None, "high": None, "n": 120, "days": 12, "outcomes": [outcome]}
    words = dict.fromkeys(("screen", "hash", "timeframe", "data", "code", "universe"), "x")
    times = {"start": START, "end": START + DAY, "bars": 9, "symbols": 6, "made": START}
    await board.hub.tell({"type": "evidence", "frames": {"15m": {**words, **times, "buckets": [bucket]}}})

    await board.until(lambda: "24 +0.21% [-0.10, +0.50] 53% went its way" in why())
    assert "n 120, 2026-03-05..2026-03-06, before costs" in why()
    assert "thin: 120 hits on 12 days" in why()


async def test_help_names_every_key(board: Shown) -> None:
    await board.press("question_mark")
    await board.until(lambda: isinstance(board.window.screen, Help))
    said = "\n".join(text_of(one) for one in board.window.screen.query(Static))

    keys = {binding.key_display or binding.key for _, binding, *_ in board.window.active_bindings.values()}
    assert all(f"{key}" in said for key in ["/", "s", "S", "t", "T", "p", "f", "w", "W", "d", "r", "q"])
    assert keys
    await board.press("escape")
    await board.until(lambda: not isinstance(board.window.screen, Help))


async def test_dark_and_light_are_changed(board: Shown) -> None:
    await board.press("d")

    assert board.window.theme == "klinehub-light"


async def test_a_hub_that_goes_is_told_of_and_followed_again(board: Shown) -> None:
    board.hub.lets_in.clear()
    await board.hub.cut()
    await board.until(lambda: "disconnected, tried again in" in board.part("#standing"))
    assert "The hub has gone away." in board.part("#standing")
    assert len(board.lines()) == len(NAMES)

    board.hub.lets_in.set()
    await board.until(lambda: [one["id"] for one in board.hub.asked] == [1, 2])
    await board.until(lambda: "6 up" in board.part("#standing"))


async def test_an_alert_is_announced(board: Shown) -> None:
    alert = {"rule": "oversold", "symbol": "AUSDT", "timeframe": "15m", "price": 1.25, "key": "0" * 12}
    await board.hub.tell({"type": "alert", "alert": alert})

    await board.until(lambda: list(board.window._notifications))
    told = next(iter(board.window._notifications))
    assert (told.title, told.message) == ("oversold", "AUSDT 15m at 1.25")


async def test_a_view_that_is_given_up_says_so(tmp_path: Path) -> None:
    hub = FakeHub(NAMES)
    hub.full = "16 different tables are looked at already"
    async with shown(tmp_path, hub=hub) as one:
        await one.until(lambda: f"gave this view up: {hub.full}" in one.part("MarketTable"))

        assert next(iter(one.window._notifications)).message == hub.full


async def test_a_column_that_cannot_be_is_told_and_the_others_are_shown(tmp_path: Path) -> None:
    hub = FakeHub(NAMES)
    hub.rejected.add("rsii")
    async with shown(tmp_path, wishes=Wishes(columns=("rsii", "trend")), hub=hub) as one:
        await one.until(lambda: "trend" in one.part("MarketTable"))

        assert next(iter(one.window._notifications)).title == "column rsii"
        assert "rsii" not in one.part("MarketTable").split("\n")[0]


async def test_what_the_first_hub_does_not_have_ends_the_window(tmp_path: Path) -> None:
    async with shown(tmp_path, wishes=Wishes(timeframe="7m")) as one:
        await one.until(lambda: one.window.failure)

    assert isinstance(one.window.failure, UnknownName)


async def test_another_hub_after_a_break_has_the_board_begin_anew(board: Shown) -> None:
    await board.press("p", "j", "j", "enter")
    await board.until(lambda: "momentum↓" in board.part("MarketTable"))
    board.hub.hello = {**HELLO, "presets": HELLO["presets"][:1], "default": "1m"}

    await board.hub.cut()

    await board.until(lambda: asked(board)["timeframe"] == "1m")
    assert asked(board)["columns"] == ["rsi", "trend"]


async def test_the_window_is_left_by_q_and_by_ctrl_c(tmp_path: Path) -> None:
    for key, interrupted in (("q", False), ("ctrl+c", True)):
        async with shown(tmp_path) as one:
            await one.press("slash" if interrupted else "down", key)
            await one.until(lambda: not one.window.is_running)

        assert one.window.interrupted is interrupted
