"""The report: everything is there, nothing comes from elsewhere, and the same study gives the same bytes."""

import re
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure
from tests.unit.evidence.studies import TOLD, planes, spoiled, studied, tape_for

from klinehub.evidence.canvas import COLOURS, picture
from klinehub.evidence.plots import colour_of, mark_of
from klinehub.evidence.portfolio import Costs
from klinehub.evidence.report import report
from klinehub.evidence.series import by_day, by_month, by_symbol, calendar, equity, rolling_ic
from klinehub.evidence.study import Study
from klinehub.evidence.wording import counted, decimal, ends, fine, percent
from klinehub.factors.points import Part
from klinehub.scan.screen import Screen

DAY = 86_400_000
PICTURES = (
    *("Rank IC over time", "Decay by horizon", "Returns by quantile", "What a portfolio would have gained"),
    *("Net by day", "Around hits", "Rank IC by hour", "Where it holds", "By symbol"),
)
SECTIONS = ("Before you believe it", "By horizon", "In pictures", "The portfolio", "Where this is from")
pytestmark = pytest.mark.timeout(120)


class Read(HTMLParser):
    """What a browser would make of a page: its texts, elements and attributes."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def found() -> Study:
    scored = (Part(name="told", expr=TOLD, weight=30.0, scale=1.0),)
    screen = Screen(name="told", timeframe="1h", score=scored, min_score=15.0)
    return studied(tape_for(planes(1_200, 40, edge=0.3)), screen, costs=Costs(), horizons=(1, 4, 24))


@pytest.fixture(scope="module")
def page(found: Study) -> bytes:
    return report([found])


def renamed(study: Study, **more: object) -> Study:
    return study._replace(evidence=msgspec.structs.replace(study.evidence, **more))


def test_the_same_study_gives_the_same_bytes_however_long_it_took(found: Study, page: bytes) -> None:
    assert report([renamed(found, seconds=12.3)]) == page
    assert report([renamed(found, hash="another")]) != page


def test_verdict_notes_figures_origin_and_all_pictures_are_there(found: Study, page: bytes) -> None:
    read, one = Read(page), found.evidence
    for text in (*SECTIONS, *PICTURES, one.verdict, *one.notes, one.hash, one.data, one.universe, one.source):
        assert text in read.texts
    assert decimal(one.horizons["1"].rank_ic) in read.texts
    assert ends(one.horizons["4"].rank_ic_interval) in read.texts
    assert "1 bar *" in read.texts
    assert percent(one.portfolio.net) in read.texts


def test_every_picture_says_in_words_what_it_shows_and_has_its_figures(page: bytes) -> None:
    read = Read(page)
    drawn = read.of("svg")

    # Symbols are bars of the page itself.
    assert len(drawn) == len(PICTURES) - 1
    assert len(read.of("details")) == len(drawn)
    for svg in drawn:
        assert svg["role"] == "img"
        assert svg["aria-label"] in read.texts


def test_nothing_is_asked_of_anybody_and_nothing_runs(page: bytes) -> None:
    text, read = page.decode(), Read(page)
    policy = next(one["content"] for one in read.of("meta") if "http-equiv" in one) or ""

    assert "default-src 'none'" in policy
    assert "script" not in policy
    assert "://" not in text
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in read.elements}
    held = {name for _, attributes in read.elements for name in attributes}
    assert not {"src", "srcset"} & held
    assert not any(name.startswith("on") for name in held)
    assert all((one.get("href") or "#").startswith("#") for _, one in read.elements)


def test_what_a_picture_refers_to_is_in_the_page_once(found: Study) -> None:
    page = report([found, renamed(found, screen="again")])
    ids = [one["id"] for _, one in Read(page).elements if "id" in one]

    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]+)', page.decode())) <= set(ids)


def test_pictures_take_their_colours_from_the_page(page: bytes) -> None:
    drawn = "".join(re.findall(r"<svg.*?</svg>", page.decode(), re.DOTALL))
    named = set(re.findall(r"var\(--([\w-]+)\)", drawn))

    assert re.findall(r"#[0-9a-f]{6}\b|font-family", drawn) == []
    assert named <= set(COLOURS)
    assert all(page.decode().count(f"--{name}: ") == 2 for name in named)


def test_names_are_text_and_never_markup(found: Study) -> None:
    name = "<script>alert(1)</script> & $x$ 币安人生 \udc80"
    (best, _), *_, (worst, _) = by_symbol(found)
    symbols = [{best: "<b>BTC</b>", worst: "币安人生USDT"}.get(symbol, symbol) for symbol in found.symbols]
    odd = renamed(found, screen=name, notes=(name,), universe=name)._replace(symbols=tuple(symbols))
    read = Read(report([odd, found]))

    assert not {"script", "b"} & {tag for tag, _ in read.elements}
    assert {"<b>BTC</b>", "币安人生USDT"} <= set(read.texts)
    # Once as a title, link, head, cell and verdict's name each, and more.
    assert read.texts.count(name.replace("\udc80", "?")) >= 5


def test_several_screens_are_laid_side_by_side_before_each_is_told(found: Study, page: bytes) -> None:
    other = renamed(found, screen="other", verdict="Not distinguishable from noise.")
    both = report([found, other])
    read = Read(both)

    assert "2 screens" in read.texts
    assert [one["href"] for one in read.of("a")] == ["#s1", "#s2"]
    assert {"s1", "s2"} <= {one.get("id") for one in read.of("article")}
    assert read.texts.index("Side by side") < read.texts.index("Before you believe it")
    assert read.texts.count("Not distinguishable from noise.") == 2
    assert len(read.of("svg")) == 2 * (len(PICTURES) - 1) + 2
    assert "Side by side" not in Read(page).texts


@pytest.mark.parametrize("kind", ["constant", "alone", "short", "unknown", "gaps"])
def test_what_is_not_known_is_said_so_and_what_can_not_be_drawn_is_named(kind: str) -> None:
    poor = studied(tape_for(spoiled(kind)), horizons=(1, 4, 24))
    read = Read(report([poor]))
    told = " ".join(read.texts[read.texts.index(poor.evidence.verdict) :])

    assert re.findall(r"\b(nan|inf|None)\b", told) == []
    if kind != "gaps":
        assert "not known" in read.texts
        assert any(text.startswith("Rank IC over time: ") for text in read.texts)
        assert "Not drawn" in read.texts


def test_a_page_of_one_screen_is_small(page: bytes) -> None:
    assert len(page) < 250_000


def test_a_long_line_is_thinned_but_its_deepest_fall_stays(found: Study) -> None:
    times = np.arange(20_000) * 3_600_000
    gains = np.random.default_rng(1).normal(0.0, 0.01, times.size)
    booked = found.booked._replace(gross=gains, costs=np.zeros_like(gains), funding=np.zeros_like(gains))
    drawn = equity(times, booked)

    assert drawn.times.size <= 500
    assert drawn.net[-1] == pytest.approx(gains.sum())
    summed = np.cumsum(gains)
    assert drawn.drawdown.min() == pytest.approx(
        (summed - np.maximum.accumulate(np.maximum(summed, 0.0))).min()
    )


def test_symbols_share_what_the_portfolio_brought_among_them(found: Study) -> None:
    gains = by_symbol(found)

    assert sum(gain for _, gain in gains) == pytest.approx(found.booked.gross.sum())
    assert [gain for _, gain in gains] == sorted((gain for _, gain in gains), reverse=True)


def test_days_lie_by_month_and_short_ranges_by_week() -> None:
    begin = 1_735_689_600_000  # 2025-01-01, a Wednesday
    times = begin + np.arange(24 * 40) * 3_600_000
    days, gains = by_day(times, np.full(times.size, 0.01))
    short, long = calendar(days, gains), calendar(begin + np.arange(150) * DAY, np.full(150, 0.01))

    months = [(name, round(gain, 9), up, count) for name, gain, up, count in by_month(days, gains)]
    assert months == [("2025-01", 7.44, 31, 31), ("2025-02", 2.16, 9, 9)]
    assert short is not None
    assert long is not None
    assert (short.heads[short.columns[0]], short.names[short.rows[0]]) == ("Wed", "2024-12-30")
    assert (long.heads[long.columns[31]], long.names[long.rows[31]]) == ("1", "2025-02")
    assert calendar(days, np.zeros(days.size)) is None


def test_a_rolling_mean_begins_where_there_is_something_to_be_the_mean_of(found: Study) -> None:
    one = found.crosses[found.evidence.headline]
    late = one.rank_ic.copy()
    late[:400] = np.nan
    crosses = {**found.crosses, found.evidence.headline: one._replace(rank_ic=late)}
    drawn = rolling_ic(found._replace(crosses=crosses))

    assert drawn is not None
    assert drawn.times[0] == found.times[400 + drawn.window - 1]
    assert drawn.means[0] == pytest.approx(late[400 : 400 + drawn.window].mean())


def test_screens_beyond_the_colours_have_another_mark() -> None:
    looks = [(colour_of(place), mark_of(place)) for place in range(36)]

    assert len(set(looks)) == 36


def test_a_readers_own_settings_change_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    import matplotlib as mpl

    def line(figure: Figure) -> None:
        figure.add_subplot().plot([1.0, 2.0])

    plain = picture("name", "says", line)
    monkeypatch.setitem(mpl.rcParams, "axes.linewidth", 9.0)
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "path")

    assert picture("name", "says", line) == plain
    assert mpl.rcParams["axes.linewidth"] == 9.0


def test_figures_are_written_with_their_sign_and_without_one_for_nothing() -> None:
    assert (decimal(0.01234), decimal(-0.00001), decimal(None)) == ("+0.0123", "0.0000", "not known")
    assert (percent(-0.5), fine(0.00001), percent(None, unknown="")) == ("-50.0%", "+0.001%", "")
    assert (counted(1, "bar"), counted(1_200, "bar")) == ("1 bar", "1,200 bars")
    assert ends((-0.1, 0.2), percent) == "-10.0% to +20.0%"
