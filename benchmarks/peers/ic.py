"""IC: a factor's rank correlation with what came after, its quantiles' returns; the portfolio booked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.peers.work import Differs, Kind

from klinehub.bench.evidence import HORIZONS, QUANTILES, compared

SYMBOLS: Final = 521
ROWS: Final = 1_000
NEAR: Final = 1e-9
SEED: Final = "seed"


def prepare(folder: Path, seed: int) -> None:
    """Keep the seed: each makes the same market of it."""
    (folder / SEED).write_text(str(seed))


def found(folder: Path, peers: tuple[str, ...]) -> Mapping[str, float]:
    """Measure klinehub and some peers as `klinehub bench evidence` does."""
    return compared(int((folder / SEED).read_text()), SYMBOLS, ROWS, peers)


def ours(folder: Path) -> Mapping[str, float]:
    """Measure with klinehub alone."""
    told = found(folder, ())
    return {"ic": told["ic_seconds"] * 1e3, "portfolio": told["portfolio_seconds"] * 1e3}


def alphalens(folder: Path) -> Mapping[str, float]:
    """Measure with alphalens-reloaded, and hold what it says against klinehub's."""
    told = found(folder, ("alphalens",))
    if not told["alphalens_differs_by"] < NEAR:
        raise Differs(f"IC or quantiles differ from klinehub's by {told['alphalens_differs_by']:.1e}.")
    return {"ic": told["alphalens_seconds"] * 1e3}


def vectorbt(folder: Path) -> Mapping[str, float]:
    """Book the portfolio with vectorbt."""
    return {"portfolio": found(folder, ("vectorbt",))["vectorbt_seconds"] * 1e3}


KIND: Final = Kind(
    "IC and a portfolio",
    f"Rank IC and the mean returns of {QUANTILES} quantiles of one factor over {len(HORIZONS)} horizons, "
    f"{SYMBOLS} symbols x {ROWS:,} bars, ms of CPU; alphalens' every value within {NEAR:.0e} of "
    "klinehub's. And the portfolio of the same scores, long the best fifth and short the worst: vectorbt "
    "books orders in turn with a cash balance, klinehub sums of weights and returns, two ways to the "
    "same question.",
    {"ic": "IC and quantiles, CPU ms", "portfolio": "portfolio, CPU ms"},
    prepare,
    {"klinehub": ours, "alphalens-reloaded": alphalens, "vectorbt": vectorbt},
)
