"""Bars that leave as Arrow tables and come back: every bit, and the decimals that they were printed with."""

import io

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.store.series import exacts, plain, same, symbols

from klinehub.domain.kline import Exact
from klinehub.domain.timeframe import TIMEFRAMES, timeframe
from klinehub.errors import DataError
from klinehub.store import portable
from klinehub.store.parquet import mantissas, writer_of

HOUR = timeframe("1h")


def fits(symbol: str, exact: Exact) -> bool:
    """Whether the store takes these bars at all."""
    try:
        mantissas(symbol, exact)
    except DataError:
        return False
    return True


def through_parquet(table: pa.Table) -> pa.Table:
    file = io.BytesIO()
    with writer_of(file, table.schema) as writer:
        writer.write_table(table)
    return pa.parquet.read_table(file)


def through_arrow(table: pa.Table) -> pa.Table:
    file = io.BytesIO()
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    return pa.ipc.open_file(file.getvalue()).read_all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), frame=st.sampled_from([*TIMEFRAMES.values()]), by=st.sampled_from([0, 1]))
def test_what_comes_back_is_what_left(data: st.DataObject, frame: object, by: int) -> None:
    assert isinstance(frame, type(HOUR))
    names = sorted(data.draw(st.sets(symbols, min_size=1, max_size=3)))
    drawn = [(name, data.draw(exacts(frame))) for name in names]
    group = [one for one in drawn if fits(*one)]
    table = portable.table(group, portable.columns("binance-spot", frame)) if group else None
    if table is None:
        return
    back = (through_parquet, through_arrow)[by](table)

    assert portable.told("x", back.schema) == ("binance-spot", frame)
    found = list(portable.bars("x", back))
    assert [name for name, _ in found] == [name for name, _ in group]
    assert all(same(mine, its) for (_, mine), (_, its) in zip(group, found, strict=True))


def test_decimals_that_change_within_a_symbol_come_back_in_two_runs() -> None:
    narrow = plain(HOUR, 480_000, 3)
    wide = Exact(plain(HOUR, 480_003, 2).rows, narrow.scale._replace(base=5))
    table = portable.table([("A", narrow), ("A", wide)], portable.columns("m", HOUR))

    (_, first), (_, second) = portable.bars("x", table)
    assert (same(first, narrow), same(second, wide)) == (True, True)


def test_other_tables_are_refused_with_what_they_should_be() -> None:
    good = portable.table([("A", plain(HOUR, 480_000, 3))], portable.columns("m", HOUR))
    other = good.drop_columns(["trades"])
    with pytest.raises(DataError, match="is no export of klinehub: its columns have to be symbol, open_time"):
        portable.told("x", other.schema)
    with pytest.raises(DataError, match="'9h', which is no timeframe"):
        portable.told("x", good.schema.with_metadata({"klinehub.timeframe": "9h"}))
    at = good.column_names.index("trades")
    holed = good.set_column(at, "trades", pa.array([1, None, 3], pa.int64()))
    with pytest.raises(DataError, match="lacks values"):
        list(portable.bars("x", holed))
    many = good.set_column(12, "base_decimals", pa.array([99, 99, 99], pa.int8()))
    with pytest.raises(DataError, match="more than 18 decimals"):
        list(portable.bars("x", many))
    texts = good.set_column(at, "trades", pa.array(["a", "b", "c"]))
    with pytest.raises(DataError, match="other columns than an export"):
        list(portable.bars("x", texts))
