"""The board in a terminal: what is known, how it is sorted and written, and what is asked for."""

import base64
from typing import Any

import msgspec
import pytest
from tests.unit.app.fake_board import HELLO, START, FakeHub

from klinehub.app.terminal.board import NEW_FOR, Board, Breadth, Sort
from klinehub.app.terminal.cells import (
    Column,
    amount,
    cell,
    columns,
    figure,
    fit,
    layout,
    levels,
    plain,
    reasons,
    spark,
)
from klinehub.app.terminal.detail import beam, chart, scaled
from klinehub.app.terminal.messages import decode
from klinehub.app.terminal.wishes import Wishes, listed, ordered
from klinehub.errors import DataError, UnknownName
from klinehub.serve.board.messages import Hello, ViewAsked

NAMES = ("AUSDT", "BUSDT", "CUSDT", "DUSDT")
VIEW = {"id": 1, "timeframe": "15m", "columns": ["rsi"], "where": ""}
HELLO_READ = msgspec.convert({name: value for name, value in HELLO.items() if name != "type"}, Hello)


def told(board: Board, *messages: dict[str, Any]) -> Board:
    """Give a board what a hub would tell it."""
    for message in messages:
        read = decode(msgspec.json.encode(message))
        assert read is not None
        board.take(read)
    return board


def filled(hub: FakeHub, **changes: Any) -> Board:
    """Give a board with one table."""
    board = Board()
    board.wish = ViewAsked(id=1, timeframe="15m", columns=("rsi", *changes.get("values", ())))
    return told(board, hub.hello, hub.symbols, {**hub.table(VIEW), **changes})


def names(board: Board, rows: list[int]) -> str:
    return "".join(board.listed[row].symbol[0] for row in rows)


def test_lines_are_sorted_with_ties_by_name_and_unknown_values_last() -> None:
    board = filled(FakeHub(NAMES[::-1]), score=[1.0, None, 1.0, 30.0])

    assert names(board, board.lines(Sort("score", descending=True))) == "ABDC"
    assert names(board, board.lines(Sort("score", descending=False))) == "BDAC"
    assert names(board, board.lines(Sort("symbol", descending=True))) == "DCBA"
    assert names(board, board.lines(Sort("symbol", descending=False), only=frozenset({"CUSDT"}))) == "C"


def test_only_what_passes_the_filter_is_a_line() -> None:
    board = filled(FakeHub(NAMES), passes=[1, 0, 0, 1])

    assert names(board, board.lines(Sort("symbol", descending=False))) == "AD"


def test_prices_replace_those_of_the_bar_and_say_which_way_they_went() -> None:
    hub = FakeHub(NAMES)
    board = filled(hub, close=[1.0, 2.0, 3.0, 4.0], change=[0.5, None, 0.0, -1.0])
    before = [board.value("price", row) for row in range(4)]

    told(board, hub.prices([0, 1], [1.5, 2.0]))
    told(board, hub.prices([0, 1], [1.25, 2.5]))

    assert before == [1.0, 2.0, 3.0, 4.0]
    assert [board.value("price", row) for row in range(4)] == [1.25, 2.5, 3.0, 4.0]
    assert board.value("change", 0) == 1.5
    assert board.value("change", 3) == -1.0
    assert [board.value("turnover24h", row) for row in (0, 3)] == [12_345_678.0, None]
    assert board.moved == {0: -1, 1: 1}


def test_what_belongs_to_another_list_or_another_view_is_left() -> None:
    hub = FakeHub(NAMES)
    board = filled(hub, score=[1.0, 2.0, 3.0, 4.0])

    told(board, {**hub.table({**VIEW, "id": 2})}, {**hub.table(VIEW), "layout": 9})
    told(board, {**hub.prices([0], [9.0]), "layout": 9}, {**hub.stale({0: "gone"}), "layout": 9})

    assert [board.value("score", row) for row in range(4)] == [1.0, 2.0, 3.0, 4.0]
    assert board.staleness == {}
    assert board.moved == {}


def test_a_new_symbol_is_a_line_from_the_next_table_on() -> None:
    hub = FakeHub(NAMES)
    board = filled(hub)
    told(board, hub.prices([1], [7.0]))
    hub.names.append("EUSDT")
    told(board, hub.symbols)
    first = names(board, board.lines(Sort("symbol", descending=False)))

    told(board, hub.table(VIEW))

    assert first == "ABCD"
    assert names(board, board.lines(Sort("symbol", descending=False))) == "ABCDE"
    assert board.value("price", 1) == 7.0


def test_who_comes_after_a_listing_is_shown_the_table_of_before_it() -> None:
    hub, board = FakeHub(NAMES), Board()
    board.wish = ViewAsked(id=1, timeframe="15m", columns=("rsi",))
    before, moved = hub.table(VIEW), hub.prices([0], [9.0])
    hub.names.append("EUSDT")

    told(board, hub.hello, hub.symbols, before, moved)

    assert names(board, board.lines(Sort("symbol", descending=False))) == "ABCD"
    assert board.value("price", 0) == 9.0


def test_a_frozen_board_stays_as_it_was() -> None:
    hub = FakeHub(NAMES)
    board = filled(hub)
    told(board, hub.prices([0], [1.0]))
    frozen = board.frozen()

    told(board, hub.prices([0], [2.0]), {**hub.table(VIEW, seed=2)}, hub.stale({0: "gone"}))

    assert (frozen.value("price", 0), board.value("price", 0)) == (1.0, 2.0)
    assert frozen.value("score", 0) != board.value("score", 0)
    assert (frozen.staleness, set(board.staleness)) == ({}, {0})


def test_breadth_counts_the_whole_market() -> None:
    board = filled(FakeHub(NAMES), change=[1.0, 2.0, -4.0, 0.0], passes=[0, 0, 0, 1])

    assert board.breadth() == Breadth(up=2, down=1, even=1, median=0.5, spread=5.0)
    assert Board().breadth() == Breadth()


@pytest.mark.parametrize(
    ("listing", "badge"),
    [
        ({}, ""),
        ({"onboard_time": START - NEW_FOR + 1}, "new"),
        ({"onboard_time": START - NEW_FOR}, ""),
        ({"onboard_time": START + 1}, ""),
        ({"delivery_time": START + 1}, "delisting"),
        ({"delivery_time": START + 1, "contract_type": "CURRENT_QUARTER"}, "delivery"),
        ({"status": "PRE_SETTLE"}, "pre settle"),
    ],
)
def test_what_is_special_about_a_listing_is_named(listing: dict[str, Any], badge: str) -> None:
    hub = FakeHub(NAMES)
    hub.listed = {"AUSDT": listing}

    assert filled(hub).badge(0) == badge


def test_columns_fit_the_width_and_the_rest_comes_by_moving_on() -> None:
    board = filled(FakeHub(NAMES), values={f"factor{n}": [1.0] * 4 for n in range(20)})
    known = columns(board)

    narrow, moved, wide = layout(known, 80), layout(known, 80, 9), layout(known, 250)

    for shown, width in ((narrow, 80), (moved, 80), (wide, 250)):
        assert sum(one.width + 1 for one in shown) - 1 <= width
        assert [one.key for one in shown[:3]] == ["mark", "symbol", "price"]
    assert [one.key for one in moved[3:5]] == ["factor5", "factor6"]
    assert "spark" in {one.key for one in wide}
    assert "spark" not in {one.key for one in narrow}


def test_the_reasons_take_what_is_left() -> None:
    board = filled(FakeHub(NAMES))

    shown = layout(columns(board), 110)

    assert shown[-1].key == "why"
    assert sum(one.width + 1 for one in shown) - 1 == 110


def test_a_name_of_the_exchange_moves_no_cursor_and_turns_no_writing() -> None:
    assert plain("\x1b[31mEVIL\u202eUSDT\n") == "\ufffd[31mEVIL\ufffdUSDT\ufffd"
    assert plain("币安人生USDT<img src=x>") == "币安人生USDT<img src=x>"


def test_texts_are_fitted_by_their_cells() -> None:
    assert fit("币安人生USDT", 9) == "币安人生…"
    assert fit("币安人生USDT", 8) == "币安人 …"
    assert fit("币安", 6, right=True) == "  币安"
    assert fit("BTC", 3) == "BTC"


@pytest.mark.parametrize(
    ("value", "short"),
    [
        (None, ""),
        (0.0, "0"),
        (12.0, "12"),
        (999.0, "999"),
        (1_234.0, "1.23k"),
        (2.5e9, "2.5B"),
        (-3e6, "-3M"),
    ],
)
def test_amounts_are_short(value: float | None, short: str) -> None:
    assert amount(value) == short


@pytest.mark.parametrize(
    ("value", "short"),
    [(None, ""), (0.0, "0"), (-0.00001234, "-1.2e-05"), (71.23456, "71.23"), (12_345.0, "12.3k")],
)
def test_figures_have_four_digits(value: float | None, short: str) -> None:
    assert figure(value) == short


def test_small_lines_are_drawn_with_gaps_where_nothing_is_known() -> None:
    found = levels(base64.b64encode(bytes([0, 127, 254, 255])).decode())

    assert found == [0, 127, 254, None]
    assert spark(found, 4) == "▁▄█ "
    assert spark(found, 2) == "▂█"
    assert levels("") == []
    assert spark([], 5) == ""


def test_a_chart_is_as_high_as_its_levels() -> None:
    assert chart(scaled([1.0, 2.0, 3.0], 1.0, 3.0), 2, 1) == ["  █", "▁██"]
    assert chart(scaled([5.0], 5.0, 5.0), 2, 2) == ["  ", "██"]


def test_a_part_of_the_score_points_to_its_side() -> None:
    assert beam(2.0, 4.0, 12) == " " * 12 + "│" + "█" * 6 + " " * 6
    assert beam(-4.0, 4.0, 12) == "█" * 12 + "│" + " " * 12


def test_reasons_are_named_as_many_as_fit() -> None:
    parts = [("trend", 12.0), ("rsi", -3.25)]

    assert reasons(parts, 40) == "trend +12.0  rsi -3.2"
    assert reasons(parts, 15) == "trend +12.0"


def test_a_stale_row_says_why_in_place_of_its_reasons() -> None:
    hub = FakeHub(NAMES)
    board = told(filled(hub), hub.stale({2: "closed bars are missing"}))
    why = Column("why", "", 60)

    assert cell(board, why, 2, watched=False) == ("stale: closed bars are missing", "warn")
    assert cell(board, why, 1, watched=False).tone == "dim"


def test_a_preset_brings_its_filter_columns_and_order() -> None:
    wishes = Wishes(preset="momentum", where="rsi < 30")

    wish = wishes.wish(HELLO_READ, 3)

    assert (wish.id, wish.timeframe) == (3, "15m")
    assert wish.columns == ("momentum", "trend", "adx")
    assert wish.where == "(trend > 0.5 and adx > 20) and (rsi < 30)"
    assert wish.where[wishes.condition(HELLO_READ)[1] :] == "rsi < 30)"
    assert wishes.sorting(HELLO_READ) == Sort("momentum", descending=True)


def test_what_is_sorted_by_is_a_column_too() -> None:
    wish = Wishes(columns=("rsi",), sort=Sort.of("-rank(volume_z)")).wish(HELLO_READ, 1)

    assert wish.columns == ("rsi", "rank(volume_z)")
    assert Wishes().wish(HELLO_READ, 1).columns == ("rsi", "trend")
    assert Wishes(columns=("price", "turnover", "score")).wish(HELLO_READ, 1).columns == ("turnover",)
    assert Wishes(sort=Sort.of("-day")).wish(HELLO_READ, 1).columns == ("rsi", "trend")


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(timeframe="7m"), "Did you mean '5m'"),
        (Wishes(preset="momentun"), "Did you mean 'momentum'"),
    ],
)
def test_what_a_hub_does_not_have_is_named(wishes: Wishes, said: str) -> None:
    with pytest.raises(UnknownName, match=said):
        wishes.wish(HELLO_READ, 1)


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("rsi", Sort("rsi", descending=False)),
        ("-rsi", Sort("rsi", descending=True)),
        ("-abs(funding)", Sort("abs(funding)", descending=True)),
        ("-a(1) + b(2)", Sort("-a(1) + b(2)", descending=False)),
        ("-(a + b)", Sort("(a + b)", descending=True)),
    ],
)
def test_an_order_by_one_term_is_turned_round(text: str, sort: Sort) -> None:
    assert ordered(text) == sort


def test_columns_are_split_outside_of_brackets() -> None:
    assert listed("rsi, zscore(rsi, age > 1d),,trend ") == ("rsi", "zscore(rsi, age > 1d)", "trend")


def test_kinds_of_later_versions_are_left_and_broken_messages_told() -> None:
    assert decode('{"type":"weather","sun":true}') is None
    for text in ("{", '{"type":"health"}', '{"type":"table","layout":"x"}', b"\xff"):
        with pytest.raises(DataError, match="same version"):
            decode(text)
