"""The canvas: pictures as SVG that take their colours and their letters from the page around them.

1. matplotlib draws with colours that stand for names; each becomes a variable of the page's style, so that
   one picture serves a light page and a dark one.
2. Letters stay letters, in the page's own font. What matplotlib writes about itself is left out.
3. Nothing depends on a clock, on chance or on the reader's own settings of matplotlib: the same numbers give
   the same bytes. Ids differ by the picture's name, so that many fit on a page.
"""

import io
import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

# In the page's pixels on a small screen; a larger one shows them larger.
WIDTH: Final = 400
HEIGHT: Final = 250
_POINTS: Final = 72.0
_NAMES: Final = (
    *("ink", "muted", "grid", "accent", "gain", "loss", "page"),
    *(f"line-{n}" for n in range(1, 7)),
)
COLOURS: Final[Mapping[str, str]] = {name: f"#0000{place:02x}" for place, name in enumerate(_NAMES, 1)}
LINES: Final = tuple(COLOURS[f"line-{n}"] for n in range(1, 7))
_BY_COLOUR: Final = {colour: name for name, colour in COLOURS.items()}
_STYLE: Final[dict[RcKeyType, Any]] = {
    "svg.fonttype": "none",
    "font.size": 11.5,
    "text.color": COLOURS["ink"],
    "axes.labelcolor": COLOURS["muted"],
    "axes.labelsize": 11.0,
    "axes.edgecolor": COLOURS["grid"],
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.xmargin": 0.02,
    "figure.facecolor": "none",
    "grid.color": COLOURS["grid"],
    "grid.linewidth": 0.7,
    "xtick.color": COLOURS["grid"],
    "xtick.labelcolor": COLOURS["muted"],
    "ytick.color": COLOURS["grid"],
    "ytick.labelcolor": COLOURS["muted"],
    "lines.linewidth": 1.7,
    "legend.frameon": False,
    "legend.fontsize": 11.0,
}


def picture(name: str, says: str, draw: Callable[[Figure], None], *, height: int = HEIGHT) -> str:
    """Give what *draw* puts on a figure as SVG for a page, with what it *says* for who can not see it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({**_STYLE, "svg.hashsalt": name})
        figure = Figure(figsize=(WIDTH / _POINTS, height / _POINTS), dpi=_POINTS, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return _inline(drawn.getvalue(), says, height)


def _inline(drawn: str, says: str, height: int) -> str:
    """Make a file of matplotlib's a part of a page."""
    body = drawn[drawn.index("</metadata>") + len("</metadata>") : drawn.rindex("</svg>")]
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r' d="([^"]*)"', _shorter, body)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"#[0-9a-f]{6}\b", _variable, body)
    body = re.sub(r">\s+<", "><", body.replace("xlink:href", "href")).strip()
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(says)}">{body}</svg>'


def _shorter(path: re.Match[str]) -> str:
    """Write a path's places to a tenth of a pixel."""
    tenths = re.sub(r"-?\d+\.\d+", lambda place: f"{float(place[0]):.1f}", path[1])
    return f' d="{" ".join(tenths.split())}"'


def _variable(colour: re.Match[str]) -> str:
    name = _BY_COLOUR.get(colour[0])
    return f"var(--{name})" if name else colour[0]
