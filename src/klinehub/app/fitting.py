"""`evidence fit`: weights of the default score as history would have had them, judged on later bars."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from klinehub.app import show
from klinehub.app.config import load
from klinehub.app.evidence import asked_of, keep, number, percent, screen_of, spanned
from klinehub.app.replaying import pool_of
from klinehub.app.tapes import members_for, past_of, settings_of, tape_for
from klinehub.errors import DefinitionError
from klinehub.evidence.fit import Fitted, fit
from klinehub.evidence.forward import forward_returns, prices_in
from klinehub.evidence.gram import gram_of
from klinehub.evidence.pools import Pool, Progress
from klinehub.evidence.replay import range_of, values_of
from klinehub.evidence.tape import Tape
from klinehub.evidence.trials import Trial
from klinehub.factors.section import Flags
from klinehub.panel.memory import F64
from klinehub.scan.scanner import DEFAULT, default_screen
from klinehub.scan.screen import Screen

_HEADS: Final = ("part", "in use", "fitted", "folds that agree")


def fitted(given: Mapping[str, Any]) -> None:
    """Fit weights, print them with what they were worth, and write them where that is asked."""
    config = settings_of(given)
    past = past_of(given, config)
    screen = screen_of(DEFAULT, past, given, config)
    with pool_of(given) as pool:
        tape, start, end = tape_for(past, [screen], given)
        panel = tape.panels[screen.timeframe or ""]
        first, last = range_of(panel, start, end)
        bars = last - first + 1
        horizon = asked_of(given, pool).checked().headline or 1
        with show.counting("reading the parts", bars, panel.timeframe.name) as progress:
            values = _values(screen, tape, first, last, pool, progress)
    prices = prices_in(panel, first, bars)
    chosen = members_for(given, config, tape, (start, end)).of(panel, first, bars)
    members: Flags = chosen & np.isfinite(prices.closes)
    # Bars of which no part is known yet judge nobody.
    members &= np.isfinite(values).all(axis=0)
    names = [part.name for part in screen.score]
    in_use = np.array([part.weight for part in screen.score])
    with show.doing("fitting"):
        found = fit(gram_of(values, forward_returns(prices, horizon), members), names, in_use, horizon)
    _log(screen, tape, found, given, (first, last))
    if given["write"] is not None:
        write(Path(given["write"]), found)
        show.err.print(f"weights written to {given['write']}")
    if given["as_json"]:
        show.document(found)
        return
    tell(found)


def _values(screen: Screen, tape: Tape, first: int, last: int, pool: Pool, progress: Progress) -> F64:
    """Give the values of a score's parts [parts, bars, symbols]."""
    asked = {part.name: part.expr for part in screen.score}
    found = values_of(asked, tape, screen.timeframe or "", first, last, pool=pool, progress=progress)
    return np.stack([found.pop(name) for name in asked])


def _log(screen: Screen, tape: Tape, found: Fitted, given: Mapping[str, Any], bars: tuple[int, int]) -> None:
    """Write into the log of trials which screen was fitted on which time."""
    frame = tape.panels[screen.timeframe or ""].timeframe
    with_them = default_screen(
        tuple(tape.panels), frame.name, weights=found.weights, unavailable=screen.unavailable
    )
    trial = Trial(
        kind="fitted",
        screen=screen.name,
        hash=with_them.hash,
        data=tape.fingerprint(),
        timeframe=frame.name,
        start=frame.open_time(bars[0]),
        end=frame.open_time(bars[1] + 1),
        rank_ic=found.in_sample,
    )
    keep(trial, given)


def write(path: Path, found: Fitted) -> None:
    """Add the weights to a file of settings; raises DefinitionError where it has some already."""
    text = path.read_text("utf-8") if path.exists() else ""
    lines = [f"{name} = {value:g}" for name, value in found.weights.items() if value]
    table = "\n".join(("[scan.weights]", *lines))
    if path.exists() and load(path, {}).hub.weights is not None:
        raise DefinitionError(
            f"{path} has weights already: take them out first, or put these there:\n{table}"
        )
    added = f"{text.rstrip()}\n\n" if text.strip() else ""
    path.write_text(f"{added}# Fitted on history: see `klinehub evidence fit`.\n{table}\n", "utf-8")


def tell(found: Fitted) -> None:
    """Print the weights as a table, what they were worth, and the verdict."""
    table = Table(box=SIMPLE_HEAD)
    for name in _HEADS:
        table.add_column(name, justify="left" if name == "part" else "right")
    for name, weight in found.weights.items():
        agreed = percent(found.kept[name], 0, sign=False)
        table.add_row(name, f"{found.in_use[name]:+.1f}", f"{weight:+.1f}", agreed)
    show.out.print(table)
    show.out.print(
        f"rank IC over {found.horizon} bars: in sample {number(found.in_sample)}, out of sample "
        f"{number(found.out_of_sample)} ({spanned(found.out_of_sample_interval)}), "
        f"weights in use {number(found.in_use_out_of_sample)} ({spanned(found.in_use_interval)})"
    )
    show.out.print(f"\n{found.verdict}", style="bold")
