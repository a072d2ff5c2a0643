"""The catalogue is what the factors say of themselves, and the pages name tests that exist."""

import re
from pathlib import Path
from typing import Final

import pytest

from klinehub.factors.catalogue import catalogue, warm_up
from klinehub.factors.expr import Expr, field
from klinehub.factors.stock import BY_NAME, STOCK

ROOT: Final = Path(__file__).resolve().parents[3]


def test_the_page_is_fresh() -> None:
    written = (ROOT / "docs" / "factors.md").read_text("utf-8")

    assert catalogue() == written, "make it anew: python -m klinehub.factors.catalogue > docs/factors.md"


def test_every_stock_factor_has_one_line_of_as_many_cells() -> None:
    rows = [line for line in catalogue().splitlines() if line.startswith("| `")]
    cells = [re.split(r"(?<!\\)\|", row) for row in rows]

    assert [row[1].split("(")[0].strip(" `") for row in cells] == [item.name for item in STOCK]
    assert {len(row) for row in cells} == {9}
    assert all(cell.strip() for row in cells for cell in row[1:-1])


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (field("close"), 0),
        (BY_NAME["roc"](20), 20),
        (BY_NAME["roc"](20).rank().lag(3) > BY_NAME["roc"](22), 23),
        (BY_NAME["roc"](20).on("1h") + BY_NAME["roc"](3), 3),
    ],
)
def test_a_warm_up_is_the_longest_of_all_terms(expr: Expr, expected: int) -> None:
    assert warm_up(expr) == expected


def test_the_tests_that_a_page_names_exist() -> None:
    named = re.findall(
        r"`(tests/\S+\.py)::(\w+)`", (ROOT / "docs" / "live-and-history.md").read_text("utf-8")
    )
    lost = [
        f"{path}::{name}"
        for path, name in named
        if not re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text("utf-8"), re.MULTILINE)
    ]

    assert len(named) > 10
    assert lost == []
