"""What alphalens-reloaded makes of a seeded market: `python tests/unit/evidence/alphalens_golden.py`.

Run with a Python that has alphalens-reloaded (0.5.1 wrote the file that is kept); the tests only read it.
"""

import json
from pathlib import Path
from typing import Any, Final

import numpy as np

SEED: Final = 8
BARS: Final = 400
SYMBOLS: Final = 60
HORIZONS: Final = (1, 4, 24)
QUANTILES: Final = 5
GOLDEN: Final = Path(__file__).with_name("alphalens.json")


def market() -> tuple[Any, Any]:
    """Give scores and opens [bars, symbols]; the score of a bar knows a little of what comes."""
    rng = np.random.default_rng(SEED)
    moves = rng.standard_t(4, (BARS, SYMBOLS)) * 0.01 + rng.normal(0.0, 0.005, (BARS, 1))
    opens = 100.0 * np.exp(np.cumsum(moves, axis=0))
    scores = rng.normal(0.0, 1.0, (BARS, SYMBOLS))
    # The open of the next bar is where a score of this one can be acted on.
    scores[:-2] += 5.0 * moves[2:]
    return scores, opens


def main() -> None:
    """Write what alphalens says of it."""
    import pandas as pd
    from alphalens import performance, utils

    scores, opens = market()
    times = pd.date_range("2025-01-01", periods=BARS, freq="h", tz="UTC")
    names = [f"S{number:02d}" for number in range(SYMBOLS)]
    # alphalens trades at the price of the score's own time: here that is the next bar's open.
    prices = pd.DataFrame(opens, times, names).shift(-1).iloc[:-1]
    factor = pd.DataFrame(scores, times, names).stack().rename_axis(["date", "asset"])  # noqa: PD013 - the shape that alphalens takes
    found: dict[str, Any] = {}
    for bars in HORIZONS:
        data = utils.get_clean_factor_and_forward_returns(
            factor, prices, quantiles=QUANTILES, periods=(bars,), max_loss=0.99, filter_zscore=None
        )
        column = utils.get_forward_returns_columns(data.columns)[0]
        ic = performance.factor_information_coefficient(data)[column]
        means, _ = performance.mean_return_by_quantile(data)
        by_bar, errors = performance.mean_return_by_quantile(data, by_date=True, demeaned=False)
        spread, _ = performance.compute_mean_returns_spread(by_bar, QUANTILES, 1, errors)
        cut = data["factor_quantile"]
        found[str(bars)] = {
            "rank_ic": ic.tolist(),
            "quantiles": means[column].tolist(),
            "spread": spread[column].tolist(),
            "turnover": {
                str(which): performance.quantile_turnover(cut, which, bars).dropna().tolist()
                for which in (1, QUANTILES)
            },
            "cut": cut.unstack().to_numpy().astype(int).tolist() if bars == 1 else [],  # noqa: PD010 - as alphalens gives it
        }
    GOLDEN.write_text(json.dumps(found), "utf-8")


if __name__ == "__main__":
    main()
