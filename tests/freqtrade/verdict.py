"""The verdict on a bot's day: which bars it saw, how often, how late, and what that cost the exchange."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tests.freqtrade import bot
from tests.freqtrade.stage import Stage, counts

from klinehub.domain.timeframe import MINUTE


def verdict(made: Stage, pairs: Mapping[str, str], folder: Path, wanted: int) -> dict[str, Any]:
    """Judge what the bot wrote down; *pairs* gives the symbol of each pair, *wanted* is in closes of each."""
    lines = bot.seen(folder)
    bars = [line for line in lines if "pair" in line]
    skews = [(line["took_ms"], line["skew_ms"]) for line in lines if "skew_ms" in line]
    told = Counter((line["pair"], line["open_time"]) for line in bars)
    found = {
        "closes": min((_closes(told, pair) for pair in pairs), default=0),
        "pairs": len(pairs),
        **_seen(told, pairs),
        "changed": sum(line["bar"] != made.truth(pairs[line["pair"]], line["open_time"]) for line in bars),
        "holes": sum(line["holes"] for line in bars),
        "speed": made.clock.rate,
        "hold_s": made.settings.hold,
        "lag_s": _lag(bars, min(skews, default=(0, 0))[1]),
        "asked_s": _spread([_after_end(one.asked) for one in made.klines[len(pairs) :]]),
        "given_s": _spread([_after_end(one.given) for one in made.klines[len(pairs) :]]),
        "held_s": _held(made),
        # As it was told by the request that took the least.
        "clock_skew_ms": min(skews, default=(0, 0))[1],
        "trades": bot.trades(folder),
        "bot_asked": counts(made.asked),
        "bot_refused": counts(made.refused),
        "stale": sum(one.stale for one in made.klines),
        "forwarded": counts(made.forwarded),
        "reached_exchange": counts(made.reached),
        "troubles": bot.troubles(folder),
    }
    return {"ok": _passes(found, wanted), **found}


def _passes(found: Mapping[str, Any], wanted: int) -> bool:
    wrong = ("missed", "twice", "changed", "holes", "stale", "bot_refused", "troubles")
    # What the bot takes itself is as many times longer as its clock is faster.
    late = found["held_s"]["max"] if found["speed"] > 1.0 else found["lag_s"]["max"]
    traded = min(found["trades"].values()) > 0
    return (
        found["closes"] >= wanted
        and late <= found["hold_s"]
        and traded
        and not any(found[name] for name in wrong)
    )


def _closes(told: Counter[tuple[str, int]], pair: str) -> int:
    return sum(name == pair for name, _ in told)


def _seen(told: Counter[tuple[str, int]], pairs: Mapping[str, str]) -> dict[str, int]:
    """Count the bars from the first one that each pair's bot saw to the last one that any did."""
    last = max((time for _, time in told), default=0)
    expected = set[tuple[str, int]]()
    for pair in pairs:
        first = min((time for name, time in told if name == pair), default=last + MINUTE)
        expected.update((pair, time) for time in range(first, last + 1, MINUTE))
    return {
        "expected": len(expected),
        "once": sum(told[one] == 1 for one in expected),
        "twice": sum(count > 1 for count in told.values()),
        "missed": sum(told[one] == 0 for one in expected),
    }


def _lag(bars: Sequence[Mapping[str, Any]], skew: int) -> dict[str, float]:
    """Give how long after a bar's end the strategy saw it, the bot's own work included, in market seconds."""
    begun = Counter[str]()
    late = []
    for line in bars:
        begun[line["pair"]] += 1
        # The first bar of a pair had ended before the bot was there.
        if begun[line["pair"]] > 1:
            late.append((line["at"] + skew - line["open_time"] - MINUTE) / 1000)
    return _spread(late)


def _after_end(time: int) -> float:
    """Give how long after a bar's end a time lies, in seconds."""
    return time % MINUTE / 1000


def _held(made: Stage) -> dict[str, float]:
    """Give how long the hub took for klines, in market seconds."""
    return _spread([(one.given - one.asked) / 1000 for one in made.klines])


def _spread(values: Sequence[float]) -> dict[str, float]:
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 3), "p99": round(float(p99), 3), "max": round(max(values), 3)}
