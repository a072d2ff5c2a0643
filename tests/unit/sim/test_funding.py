"""Funding and open interest of the simulated exchange are believable, and agree with each other."""

import asyncio
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tests.unit.dialect.virtual import START, Scene, on_exchange

from klinehub.sim import funding
from klinehub.sim.market import HOUR

SEEDS = range(300)


def test_rates_change_at_funding_times_and_only_then() -> None:
    for seed in range(40):
        length = funding.hours(seed) * HOUR
        times = range(START, START + 3 * 24 * HOUR, HOUR // 4)
        changed = [b for a, b in pairwise(times) if funding.rate(seed, a) != funding.rate(seed, b)]

        assert all(time % length < HOUR // 4 for time in changed)
        assert all(funding.next_funding(seed, time) - time <= length for time in times)


def test_a_rate_follows_the_premium_at_its_beginning() -> None:
    per_8_hours = [funding.rate(seed, START) * 8 / funding.hours(seed) for seed in SEEDS]
    begun = [START // (funding.hours(seed) * HOUR) * funding.hours(seed) * HOUR for seed in SEEDS]
    premiums = [funding.premium(seed, time) for seed, time in zip(SEEDS, begun, strict=True)]
    usual = np.isclose(per_8_hours, 1e-4)

    assert 0.6 < usual.mean() < 0.97
    assert np.abs(np.array(per_8_hours) - premiums).max() < 5e-4 + 1e-4
    assert np.abs(per_8_hours).max() <= 0.02
    assert 0.1 < np.mean([funding.hours(seed) == 4 for seed in SEEDS]) < 0.4


def test_the_premium_moves_a_little_from_minute_to_minute_and_never_leaps() -> None:
    for seed in range(20):
        course = [funding.premium(seed, START + n * 60_000) for n in range(24 * 60)]

        assert len(set(course)) > 1_400
        assert np.abs(np.diff(course)).max() < 3e-4


def test_what_the_exchange_tells_fits_together() -> None:
    async def ask(scene: Scene) -> list[Any]:
        told = []
        for _ in range(6):
            marks = (await scene.get("/fapi/v1/premiumIndex"))[1]
            info = (await scene.get("/fapi/v1/fundingInfo"))[1]
            prices = (await scene.get("/fapi/v1/ticker/price"))[1]
            held = [(await scene.get("/fapi/v1/openInterest", symbol=one["symbol"]))[1] for one in marks]
            told.append((marks, info, prices, held))
            await asyncio.sleep(1200)
        return told

    told = on_exchange(ask, symbols=6)
    for marks, info, prices, _ in told:
        price = {one["symbol"]: float(one["price"]) for one in prices}
        hours = {one["symbol"]: one["fundingIntervalHours"] for one in info}
        for one in marks:
            assert float(one["markPrice"]) == pytest.approx(price[one["symbol"]], rel=2e-3)
            assert float(one["indexPrice"]) == pytest.approx(float(one["markPrice"]), rel=5e-3)
            if one["nextFundingTime"]:
                assert one["nextFundingTime"] % (hours[one["symbol"]] * HOUR) == 0
    # Listings come and go; those of the first answer stay.
    names = [one["symbol"] for one in told[0][0]][:3]
    held = [{one["symbol"]: float(one["openInterest"]) for one in held} for *_, held in told]
    amounts = np.array([[one[name] for name in names] for one in held])
    assert (amounts > 0).all()
    moves = np.abs(np.diff(np.log(amounts), axis=0))
    assert (moves.max(axis=0) > 1e-4).all()
    assert moves.max() < 0.2
