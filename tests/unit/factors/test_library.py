from pathlib import Path

import pytest

from klinehub.errors import UnknownName
from klinehub.factors.engine import BENCHMARK, Factor
from klinehub.factors.library import BY_NAME, FLOW_FIELDS, STOCK, factor_table, reading, stock_factor
from klinehub.panel.block import Block

DOC = Path(__file__).parents[3] / "docs" / "scoring.md"


def test_there_are_at_least_ten_factors_with_names_of_their_own() -> None:
    assert len({item.name for item in STOCK}) == len(STOCK) >= 10
    assert len({item.kernel for item in STOCK}) >= 10


def test_the_default_weights_sum_to_a_hundred() -> None:
    assert sum(item.weight for item in STOCK) == 100.0


def test_a_factor_declares_what_it_needs(factor: Factor) -> None:
    assert set(factor.fields) <= {*Block._fields, BENCHMARK}
    assert 2 <= factor.window <= 300
    assert 0.0 <= factor.residue <= 1e-3
    assert factor.scale > 0.0
    assert all((factor.title, factor.formula, factor.unit, factor.range, factor.source))


def test_a_misspelt_factor_is_answered_with_the_nearest() -> None:
    assert stock_factor("rsi") is BY_NAME["rsi"]
    with pytest.raises(UnknownName, match=r"Unknown factor 'momentun'.*'momentum'"):
        stock_factor("momentun")


def test_the_factors_that_need_more_than_prices_and_volume_are_known() -> None:
    assert reading(FLOW_FIELDS) == {"taker_delta"}
    assert reading({"volume"}) == {"volume_z"}
    assert reading(()) == frozenset()


def test_the_table_of_the_docs_is_the_library() -> None:
    assert factor_table() in DOC.read_text(encoding="utf-8"), "docs/scoring.md: paste factor_table() anew"
