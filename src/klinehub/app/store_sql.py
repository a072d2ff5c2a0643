"""`store sql`: the bars of a store on PostgreSQL as plain rows, for SQL and Grafana."""

import time
from collections.abc import Mapping
from typing import Any

from klinehub.app import options, show
from klinehub.errors import DefinitionError
from klinehub.settings import HubSettings
from klinehub.store.plain_rows import Refreshed, planned, refresh
from klinehub.store.postgres import PostgresTables
from klinehub.store.postgres_session import is_server


def sql(given: Mapping[str, Any]) -> None:
    """Copy what is new into the table of plain rows; without --rows print how the table would be made."""
    tables = _opened(options.settings(given).hub)
    try:
        if not given["rows"]:
            with tables.session("read") as db:
                statements = planned(db)
            text = "".join(f"{statement.strip()};\n" for statement in statements)
            _tell(given, {"schema": tables.schema, "statements": statements}, text)
            return
        begun = time.perf_counter()
        done = refresh(tables)
        took = time.perf_counter() - begun
        told = {"table": f"{tables.schema}.klines", **done._asdict(), "seconds": took}
        _tell(given, told, _line(tables, done, took))
    finally:
        tables.close()


def _opened(settings: HubSettings) -> PostgresTables:
    """Open the store that the settings name, to be read beside the hub that writes it."""
    if not is_server(settings.store):
        raise DefinitionError(
            "Plain rows are made of a store on PostgreSQL: set `store.path`, or KLINEHUB_STORE_PATH, to "
            "postgresql://user@host/database."
        )
    return PostgresTables(settings.store, market=settings.exchange, writing=False)


def _tell(given: Mapping[str, Any], document: Mapping[str, Any], text: str) -> None:
    if given["as_json"]:
        show.document(document)
    else:
        show.out.print(text, end="", soft_wrap=True, markup=False)


def _line(tables: PostgresTables, done: Refreshed, took: float) -> str:
    """Say in words what a refresh did."""
    kind = "hypertable" if done.timescale else "table"
    said = (
        f"{done.rows:,} rows of {done.slices:,} slices are new or changed in the {kind} "
        f"{tables.schema}.klines ({took:.1f} s); {tables.schema}.hours has them by the hour.\n"
    )
    return said + "".join(f"left out, damaged: {one}\n" for one in done.damaged)
