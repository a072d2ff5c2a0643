"""The report: studies on one page that needs nothing else, neither a script nor a server nor a network.

1. The verdict in words and what has to be known to believe it come first, figures after them.
2. Several studies are laid side by side before each is told.
3. The same studies give the same bytes: how long they took is left out.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from html import escape
from importlib.resources import files
from string import Template
from typing import Final

from klinehub.evidence import plots
from klinehub.evidence.canvas import picture
from klinehub.evidence.figures import Absent, decayed, figures
from klinehub.evidence.markup import Drawn, Table, around, element, figure, listed, pairs, table
from klinehub.evidence.result import Evidence, Horizon
from klinehub.evidence.series import by_symbol, equity
from klinehub.evidence.study import Study
from klinehub.evidence.verdict import moment
from klinehub.evidence.wording import UNKNOWN, counted, decimal, ends, fine, percent, share

_TEMPLATE: Final = "page.html"
# Symbols at each end of the list of those that gained and lost.
_ENDS: Final = 10
# What the marks of plots look like in a line of text.
_KEYS: Final = "●■◆▲▼✚"
_HORIZONS: Final = (
    "Returns from the next bar's open on; the verdict is of the horizon with the star. The spread is half of "
    "the highest quantile's return less half of the lowest one's, turnover is of both; intervals are of 95 %."
)
_rate: Final = partial(share, digits=1)
_ratio: Final = partial(decimal, digits=2)
_MEASURES: Final[tuple[tuple[str, Callable[[Horizon], str]], ...]] = (
    ("rank IC", lambda at: decimal(at.rank_ic)),
    ("rank IC, interval", lambda at: ends(at.rank_ic_interval)),
    ("IC", lambda at: decimal(at.ic)),
    ("IC, interval", lambda at: ends(at.ic_interval)),
    ("spread", lambda at: fine(at.spread)),
    ("spread, interval", lambda at: ends(at.spread_interval, fine)),
    ("hit rate", lambda at: _rate(at.hit_rate)),
    ("hit rate, interval", lambda at: ends(at.hit_rate_interval, _rate)),
    ("hits", lambda at: f"{at.hits:,}"),
    ("turnover", lambda at: share(at.turnover)),
    ("scores with a return", lambda at: f"{at.n:,}"),
    ("bars", lambda at: f"{at.counted:,}"),
    ("delistings", lambda at: f"{at.delisted:,}"),
)


def report(studies: Sequence[Study]) -> bytes:
    """Give studies as one page of HTML: side by side where there are several, then each."""
    told = [study.evidence for study in studies]
    title = f"Evidence: {', '.join(one.screen for one in told)}"
    parts = [_side_by_side(studies)] if len(studies) > 1 else []
    parts += [_told(study, f"s{place}") for place, study in enumerate(studies, 1)]
    page = Template((files(__package__) / _TEMPLATE).read_text("utf-8"))
    return page.substitute(title=escape(title), body="".join(parts)).encode("utf-8", "replace")


def _told(study: Study, place: str) -> str:
    """Give everything of one study."""
    one = study.evidence
    drawn = list(figures(study, place))
    absent = [f"{each.title}: {each.why}" for each in drawn if isinstance(each, Absent)]
    pictures = [figure(each) for each in drawn if isinstance(each, Drawn)]
    return around(
        "article",
        [
            _head(one),
            element("p", one.verdict, class_="verdict"),
            _tiles(one),
            *_section("Before you believe it", listed(one.notes) if one.notes else ""),
            *_section("By horizon", table(_horizons(one))),
            *_section("In pictures", around("div", [*pictures, _symbols(study)], class_="figures")),
            *_section("Not drawn", listed(absent) if absent else ""),
            *_section("The portfolio", pairs(_portfolio(one))),
            *_section("Where this is from", pairs(_origin(one))),
        ],
        id=place,
    )


def _section(title: str, inner: str) -> Iterator[str]:
    """Give a section, nothing where there is nothing in it."""
    if inner:
        yield around("section", [element("h2", title), inner])


def _head(one: Evidence) -> str:
    sizes = f"{one.timeframe}, {counted(one.bars, 'bar')} of {counted(one.symbols, 'symbol')}, {_range(one)}"
    return around("header", [element("h1", one.screen), element("p", sizes)])


def _range(one: Evidence) -> str:
    return f"{moment(one.range[0])} to {moment(one.range[1])} UTC"


def _tiles(one: Evidence) -> str:
    """Give the few figures that the verdict is made of."""
    at, book = one.horizons[str(one.headline)], one.portfolio
    bars = counted(one.headline, "bar")
    best = f"probability of being better than the best of {counted(one.trials, 'worthless trial')}"
    found = (
        ("Rank IC", decimal(at.rank_ic), f"over {bars}; 95\u00a0%: {ends(at.rank_ic_interval)}"),
        ("Spread", fine(at.spread), f"over {bars}; 95\u00a0%: {ends(at.spread_interval, fine)}"),
        (
            "Hit rate",
            _rate(at.hit_rate),
            f"of {counted(at.hits, 'hit')}; 95\u00a0%: {ends(at.hit_rate_interval, _rate)}",
        ),
        ("Net a year", percent(book.net), f"{percent(book.gross)} before costs"),
        ("Sharpe", _ratio(book.sharpe), f"after costs; 95\u00a0%: {ends(book.sharpe_interval, _ratio)}"),
        ("Not luck", share(one.deflated_sharpe), best),
    )
    return around(
        "dl",
        [
            around("div", [element("dt", name), element("dd", value, class_="figure"), element("dd", more)])
            for name, value, more in found
        ],
        class_="tiles",
    )


def _horizons(one: Evidence) -> Table:
    """Lay the horizons out side by side, the headline's with a star."""
    columns = list(one.horizons.values())
    heads = [f"{counted(at.bars, 'bar')}{' *' if at.bars == one.headline else ''}" for at in columns]
    rows = [(name, *map(cell, columns)) for name, cell in _MEASURES]
    return Table(_HORIZONS, ("horizon", *heads), rows)


def _symbols(study: Study) -> str:
    """Give the symbols that brought and lost the most, as bars that lie beside their figures."""
    found = by_symbol(study)
    if not found:
        return ""
    count = min(_ENDS, len(found) // 2)
    best, worst = found[: max(count, 1)], found[len(found) - count :]
    most = max(abs(gain) for _, gain in (*best, *worst)) or 1.0
    gained = sum(gain > 0.0 for _, gain in found)
    says = (
        f"What each symbol brought over the range before costs, as a share of the capital: {gained} of "
        f"{counted(len(found), 'symbol')} gained. Together they brought {_sum(found)}, the {len(best)} best "
        f"{_sum(best)} and the {len(worst)} worst {_sum(worst)}."
    )
    rows = [
        around("tbody", [_symbol(name, gain, abs(gain) / most) for name, gain in part])
        for part in (best, worst)
    ]
    words = around("figcaption", [element("h3", "By symbol"), element("p", says)])
    return around("figure", [words, around("table", rows, class_="lying")])


def _symbol(name: str, gain: float, length: float) -> str:
    """Give a symbol's row, its bar as long as that part of the longest."""
    side = "gain" if gain >= 0.0 else "loss"
    bar = f'<td><i class="{side}" style="width:{length:.1%}"></i></td>'
    return around("tr", [element("th", name, scope="row"), element("td", percent(gain, 2)), bar])


def _sum(found: Sequence[tuple[str, float]]) -> str:
    return percent(sum(gain for _, gain in found))


def _portfolio(one: Evidence) -> Iterator[tuple[str, str]]:
    """Name what was assumed of the portfolio and what it came to."""
    book = one.portfolio
    yield "held for", counted(book.hold, "bar")
    yield "fee and slippage", f"{share(book.fee, 3)} and {share(book.slippage, 3)} of each traded amount"
    yield "before costs", _a_year(book.gross)
    yield "trading costs", _a_year(None if book.costs is None else -book.costs)
    yield "funding", "none, since no rates were recorded" if book.funding is None else _a_year(-book.funding)
    yield "after costs", _a_year(book.net)
    yield (
        "Sharpe ratio",
        f"{_ratio(book.sharpe)}, {ends(book.sharpe_interval, _ratio)}, of {counted(book.days, 'day')}",
    )
    yield "deepest drawdown", percent(book.drawdown)
    yield "turnover", UNKNOWN if book.turnover is None else f"{book.turnover:.2f} times the capital a day"
    yield "capacity", _capacity(book.capacity)
    yield "without a price", counted(book.unpriced, "position")


def _a_year(value: float | None) -> str:
    return UNKNOWN if value is None else f"{percent(value)} of the capital a year"


def _capacity(amount: float | None) -> str:
    if amount is None:
        return UNKNOWN
    return (
        f"{amount:,.0f} of the quote asset, at which nine in ten trades are at most a hundredth of their bar"
    )


def _origin(one: Evidence) -> Iterator[tuple[str, str]]:
    """Name what is needed to come to the same figures again."""
    yield "screen", one.screen
    yield "its hash", one.hash
    yield "version of scores", str(one.version)
    yield "klinehub", one.code
    yield "fingerprint of the data", one.data
    yield "data", one.source
    yield "timeframe", one.timeframe
    yield "range", _range(one)
    yield "universe", one.universe
    yield "bars and symbols", f"{one.bars:,} and {one.symbols:,}"
    yield "trials on this time", str(one.trials)


def _side_by_side(studies: Sequence[Study]) -> str:
    """Compare several studies: their decay and their gains in one plot each, and a table."""
    told = [study.evidence for study in studies]
    names = [
        f'<li><span aria-hidden="true" style="color:var(--line-{plots.colour_of(n) + 1})">'
        f'{_KEYS[plots.mark_of(n)]}</span> <a href="#s{n + 1}">{escape(one.screen)}</a></li>'
        for n, one in enumerate(told)
    ]
    pictures = [figure(one) for one in (decayed(told, "s0"), _gains(studies)) if isinstance(one, Drawn)]
    heading = element("h1", f"{len(told)} screens")
    return around(
        "article",
        [
            around("header", [heading]),
            around("ol", names, class_="keys"),
            *_section("Side by side", around("div", pictures, class_="figures")),
            *_section("At the headline of each", table(_compared(told))),
            *_section("Verdicts", pairs((one.screen, one.verdict) for one in told)),
        ],
    )


def _gains(studies: Sequence[Study]) -> Drawn:
    """Draw what each portfolio gained after costs."""
    found = [equity(study.times, study.booked) for study in studies]
    told = [(study.evidence.screen, float(study.booked.net.sum())) for study in studies]
    says = "After costs, over the range: " + ", ".join(f"{name} {percent(net)}" for name, net in told) + "."
    svg = picture("s0-equity", says, lambda sheet: plots.equities(sheet, found))
    title = "What portfolios would have gained"
    return Drawn(
        title, says, svg, Table(title, ("screen", "net"), [(name, percent(net)) for name, net in told])
    )


def _compared(told: Sequence[Evidence]) -> Table:
    rows = []
    for one in told:
        at, book = one.horizons[str(one.headline)], one.portfolio
        rows.append(
            (
                *(one.screen, one.timeframe, counted(one.headline, "bar"), decimal(at.rank_ic)),
                *(ends(at.rank_ic_interval), fine(at.spread), _rate(at.hit_rate)),
                *(percent(book.gross), percent(book.net), _ratio(book.sharpe)),
                *(percent(book.drawdown), share(one.deflated_sharpe)),
            )
        )
    heads = (
        *("screen", "timeframe", "horizon", "rank IC", "95 % interval", "spread", "hit rate", "gross a year"),
        *("net a year", "Sharpe", "drawdown", "not luck"),
    )
    return Table("Screens side by side", heads, rows)
