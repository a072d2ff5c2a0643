"""What the comparison with peers does without any peer: numbers, tables, and their place on the page."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from benchmarks.peers.table import BEGIN, END, NoPlace, machine, number, placed, spread, table, version
from benchmarks.peers.work import Kind

PAGE = f"# Title\n\n{BEGIN}\nold\n{END}\n\nafter\n"


def nothing(_: Path) -> Mapping[str, float]:
    return {}


KIND = Kind("Work", "words", {"cpu": "CPU ms", "wall": "real ms"}, lambda _, __: None, {"klinehub": nothing})


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (20.0, "20"), (12345.6, "12,345.6")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert number(value) == text


def test_a_spread_is_the_median_between_the_least_and_the_largest() -> None:
    assert spread([3.0, 1.0, 20.0]) == "3 (1..20)"
    assert spread([2.5]) == "2.5"


def test_a_table_has_medians_ratios_and_dashes() -> None:
    found = {
        "klinehub": [{"cpu": 2.0, "wall": 1.0}, {"cpu": 4.0, "wall": 3.0}],
        "other": [{"cpu": 1.0}, {"cpu": 2.0}],
    }

    assert table(KIND, found).splitlines() == [
        "| | CPU ms | real ms |",
        "|---|---|---|",
        "| klinehub | 3 (2..4) | 2 (1..3) |",
        "| other | 1.5 (1..2), 0.5x | - |",
    ]


def test_a_table_without_klinehub_has_no_ratios() -> None:
    assert table(KIND, {"other": [{"cpu": 1.0, "wall": 2.0}]}).splitlines()[-1] == "| other | 1 | 2 |"


def test_tables_replace_what_is_between_the_marks_and_nothing_else() -> None:
    once = placed(PAGE, "new\n")

    assert once == f"# Title\n\n{BEGIN}\n\nnew\n\n{END}\n\nafter\n"
    assert placed(once, "new") == once


@pytest.mark.parametrize("page", ["", BEGIN, END, f"{END}\n{BEGIN}\n"])
def test_a_page_without_marks_is_refused(page: str) -> None:
    with pytest.raises(NoPlace, match="needs a line"):
        placed(page, "new")


def test_a_version_is_told_of_a_name_that_says_more() -> None:
    assert version("numpy, on one core") == version("numpy") != "not installed"
    assert version("no-such-thing") == "not installed"


def test_the_machine_is_told() -> None:
    assert "cores" in machine()
    assert "Python 3" in machine()
