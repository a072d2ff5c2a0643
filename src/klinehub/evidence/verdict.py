"""The verdict: what the figures come to, in words that claim no more than they show."""

from collections.abc import Iterator
from typing import Final

from klinehub.domain.moment import utc
from klinehub.domain.timeframe import DAY
from klinehub.evidence.result import Evidence, Span
from klinehub.evidence.tape import STORE, Tape
from klinehub.evidence.trials import Known
from klinehub.factors.expr import terms
from klinehub.scan.screen import Screen

# Bars with a cross-section, and non-overlapping horizons, below which nothing is concluded.
FEWEST_BARS: Final = 100
FEWEST_HORIZONS: Final = 30
# A Sharpe ratio that is better than luck's best with this probability.
SURE: Final = 0.95
HALF_A_YEAR: Final = 182


def verdict(evidence: Evidence) -> str:
    """Say what a result comes to, at its headline's horizon."""
    at = evidence.horizons[str(evidence.headline)]
    bars = f"{evidence.headline} bar{'s' * (evidence.headline > 1)}"
    if at.counted < max(FEWEST_BARS, FEWEST_HORIZONS * evidence.headline) or at.rank_ic_interval is None:
        return (
            f"Too little data to conclude anything: {at.counted} bars with a cross-section, and "
            f"{max(FEWEST_BARS, FEWEST_HORIZONS * evidence.headline)} are needed for a horizon of {bars}."
        )
    if not _says(at.rank_ic_interval):
        return (
            f"Not distinguishable from noise: over {bars} the rank IC is {at.rank_ic:+.4f}, and its interval "
            f"{_span(at.rank_ic_interval)} holds zero."
        )
    found = f"rank IC {at.rank_ic:+.4f} {_span(at.rank_ic_interval)}"
    if (at.rank_ic or 0.0) < 0.0:
        return (
            f"It points the wrong way: over {bars} higher scores were followed by lower returns, {found}. "
            "Turned round it is another screen, and this time has been seen."
        )
    return f"Higher scores were followed by higher returns over {bars}: {found}. {_paid(evidence)}"


def _paid(evidence: Evidence) -> str:
    """Say what was left of it after costs."""
    book, sure = evidence.portfolio, evidence.deflated_sharpe
    if book.net is None or book.net <= 0.0:
        return f"Costs eat it: a long-short portfolio of it lost {-(book.net or 0.0):.1%} a year after them."
    told = (
        f"A long-short portfolio of it gained {book.net:.1%} a year after costs; that it is better than the "
        f"best of {evidence.trials} worthless trial{'s' * (evidence.trials > 1)} has a probability of "
    )
    if sure is None or sure < SURE:
        unsure = "nobody knows what" if sure is None else f"{sure:.0%}"
        return f"{told}{unsure}: not enough to tell it from luck."
    return f"{told}{sure:.0%}."


def notes(evidence: Evidence, tape: Tape, screen: Screen, known: Known) -> Iterator[str]:
    """Say what has to be known to read a result: how the screen was tuned, and what the data lacks."""
    if known.tuned:
        yield f"Tuned on what it is judged on: {'; '.join(known.tuned)}. Judge it on a time nobody looked at."
    yield from _lacking(tape, screen)
    if evidence.portfolio.funding is None:
        yield "No funding was recorded, so none is paid: a long-short portfolio pays or earns it."
    yield "No order book was recorded: slippage is what was assumed, and is larger when all trade at once."
    delisted = evidence.horizons[str(evidence.headline)].delisted
    if delisted:
        yield f"{delisted:,} returns end with a delisting, at the last close that there was."
    if evidence.portfolio.unpriced:
        yield f"{evidence.portfolio.unpriced:,} positions had no price for a bar, and brought nothing in it."
    days = (evidence.range[1] - evidence.range[0]) / DAY
    if days < HALF_A_YEAR:
        yield f"{days:.0f} days are one mood of the market: what held in them may not in the next."


def _lacking(tape: Tape, screen: Screen) -> Iterator[str]:
    """Say what the data can not give."""
    if screen.unavailable:
        yield f"Without {', '.join(screen.unavailable)}: the data can not give these parts of the score."
    read = {name for expr in screen.exprs.values() for term in terms(expr) for name in term.reads}
    if read & tape.unavailable:
        yield f"The data lacks {', '.join(sorted(read & tape.unavailable))}, which the screen reads."
    if tape.estimated:
        yield f"Estimated, not recorded: {', '.join(sorted(tape.estimated))}."
    if tape.source != STORE:
        yield "Whoever recorded the data chose its symbols: those delisted before that may lack."


def moment(time: int) -> str:
    """Write a time (ms UTC) in UTC, to the minute."""
    return utc(time)[: len("2025-01-01 00:00")]


def _says(interval: Span) -> bool:
    return interval[0] > 0.0 or interval[1] < 0.0


def _span(interval: Span) -> str:
    return f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"
