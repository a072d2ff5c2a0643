"""`alerts` and `alerts test`: the newest of the log, and whether targets can be reached."""

from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from klinehub.alerts.delivering import Tried
from klinehub.alerts.outbox import Outbox
from klinehub.app import options, show, trying
from klinehub.app.alerting import log_file
from klinehub.app.config import Config
from klinehub.app.exits import FAILED
from klinehub.app.library import system_clock
from klinehub.errors import NoHub
from klinehub.serve.alerting import alert_row
from klinehub.serve.local import ask, is_open
from klinehub.serve.rows import AlertRow


async def alerts(given: Mapping[str, Any]) -> None:
    """Print the newest alerts: of the running hub, or of the file of the log where there is none."""
    config = options.settings(given)
    symbol = given["symbol"].upper() if given["symbol"] else None
    if await is_open(options.door()):
        params = {"limit": str(given["limit"])} | ({"symbol": symbol} if symbol else {})
        found = msgspec.json.decode(await ask(options.door(), "alerts", params), type=list[AlertRow])
    else:
        found = _of_file(config, given["limit"], symbol)
    if given["as_json"]:
        show.document(found)
    else:
        show.out.print(_table(found, show.zone(config.tz)))


def _of_file(config: Config, limit: int, symbol: str | None) -> list[AlertRow]:
    """Read the log where no hub has it; raises NoHub where there is none."""
    path = log_file(config)
    if path is None or not path.exists():
        where = "in memory" if path is None else f"at {path}"
        raise NoHub(f"No hub is running here, and there is no log {where}: start one with `klinehub run`.")
    outbox = Outbox(path, now=system_clock().now())
    try:
        return [alert_row(one, config.alerts.url) for one in outbox.entries(limit=limit, symbol=symbol)]
    finally:
        outbox.close()


def _table(rows: list[AlertRow], tz: ZoneInfo) -> Table:
    """Lay alerts out, the newest last."""
    table = Table(box=SIMPLE_HEAD, caption=None if rows else "nothing has been alerted yet")
    for name in ("time", "rule", "symbol", "tf", "price", "change", "score", "deliveries"):
        table.add_column(name, justify="right" if name in {"price", "change", "score"} else "left")
    for row in rows:
        told = ", ".join(
            f"{one.target} {one.state}{f' ({one.detail})' if one.detail else ''}" for one in row.deliveries
        )
        cells = (
            show.moment(row.time, tz, named=False),
            row.rule,
            row.symbol,
            row.timeframe,
            f"{row.price:.10g}",
            "" if row.change is None else f"{row.change:+.2f} %",
            "" if row.score is None else f"{row.score:+.1f}",
            told or "nobody",
        )
        # Names and reasons are shown as they are, whatever brackets they have.
        table.add_row(*(Text(cell) for cell in cells))
    return table


async def tried(given: Mapping[str, Any]) -> int:
    """Send a test of a rule or to a target, and say what became of it; gives 1 where one did not take it.

    By the running hub; where there is none, by the settings alone.
    """
    config, name = options.settings(given), given["name"]
    if await is_open(options.door()):
        body = await ask(options.door(), "tried", {"name": name})
        found = msgspec.json.decode(body, type=list[Tried])
    else:
        found = [await trying.tried(config, target, system_clock()) for target in _targets(config, name)]
    if given["as_json"]:
        show.document(found)
    elif not found:
        show.err.print("no target gets it: see [targets] and [webhooks] in docs/alerts.md")
    for one in found if not given["as_json"] else []:
        show.out.print(Text(f"{one.target}: {'sent' if one.ok else one.detail}"))
    return 0 if found and all(one.ok for one in found) else FAILED


def _targets(config: Config, name: str) -> Sequence[str]:
    """Give the targets of a rule of the settings, or the one that has this name."""
    if name not in config.alert_rules:
        return (name,)
    return config.alert_rules[name].to or (*config.targets, *config.webhooks)
