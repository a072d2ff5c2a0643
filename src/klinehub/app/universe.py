"""`universe`: who is worth a scan, and why."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.table import Table

from klinehub.app import options, show
from klinehub.app.ask import asking, of_market, running
from klinehub.app.config import Config
from klinehub.app.library import system_clock
from klinehub.feed import binance
from klinehub.feed.timing import Timing
from klinehub.scan.pools import Market, Merged, refresh
from klinehub.serve.local import ask

_FIGURES = ("turnover", "change_percent", "age_days", "day_surge", "hour_surge")


async def universe(given: Mapping[str, Any]) -> None:
    """Print the universe of the running hub, or choose one by the rules where there is none."""
    config = options.settings(given)
    if await running(given):
        found = msgspec.json.decode(await ask(options.door(), "universe", of_market(given)))
    else:
        found = {**(await _chosen(config)).as_dict(), "failure": ""}
    if given["as_json"]:
        show.document(found)
        return
    table = Table(box=SIMPLE_HEAD, caption=_caption(found, config))
    table.add_column("symbol", no_wrap=True)
    for name in (*_FIGURES, "why"):
        left = name == "why"
        table.add_column(name.replace("_", " "), justify="left" if left else "right", no_wrap=not left)
    for symbol in found["symbols"]:
        one = found["metadata"][symbol]
        table.add_row(symbol, *(_shown(name, one[name]) for name in _FIGURES), "; ".join(one["why"]))
    show.out.print(table)


async def _chosen(config: Config) -> Merged:
    """Choose by the listing and the tickers alone: without klines nothing is known of surges."""
    hub = config.hub
    clock = system_clock()
    async with asking(config, clock) as (rest, gate):
        listed = binance.parse_listings(await rest.get(rest.venue.info, {}, weight=rest.venue.info_weight))
        body = await rest.get(rest.venue.tickers, {}, weight=rest.venue.tickers_weight)
        market = Market(
            {one.symbol: one for one in listed},
            binance.parse_tickers(body, binance.contract_sizes(listed)),
            quote=hub.quote,
            tradifi=hub.tradifi,
            exclude=hub.exclude,
        )
        await Timing(rest, gate, clock, on_doubt=lambda _: None).read()
        return refresh(hub.rules, market, gate.now()).merged


def _caption(found: Mapping[str, Any], config: Config) -> str:
    elite, overlay = len(found["elite"]), len(found["overlay"])
    when = show.moment(found["time"], show.zone(config.tz))
    said = f"{len(found['symbols'])} symbols at {when}: {elite} elite, {overlay} overlay"
    return f"{said}\n{found['failure']}" if found["failure"] else said


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    forms = {"turnover": "{:,.0f}", "change_percent": "{:+.1f} %", "age_days": "{:.0f}"}
    return forms.get(name, "{:.1f} x").format(value)
