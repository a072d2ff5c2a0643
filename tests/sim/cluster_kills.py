"""Kills of one of two hubs that share a market out, on virtual time and under other faults, counted.

`python -m tests.sim.cluster_kills --kills 50` prints what was missing or doubled at a hub that is fed, and
how long the other one took to have all symbols, proved fresh.
"""

import argparse
import asyncio
import json

import numpy as np
from tests.sim.test_cluster import Desk, play, trouble

# One desk lives for so many kills: memory keeps the bars of as many minutes.
A_DESK = 5
LONGEST = 60.0


async def taken_over(made: Desk, name: str) -> float:
    """Give the seconds until a hub has all symbols, proved fresh."""
    hub, began = made.hubs[name], made.loop.time()
    while made.loop.time() - began < LONGEST:
        if len(hub._mine) == len(hub.symbols) and not hub.all_stale(hub.symbols):
            break
        await asyncio.sleep(0.1)
    return made.loop.time() - began


def campaign(seed: int, kills: int) -> dict[str, object]:
    """Kill so many times at one desk."""
    took: list[float] = []
    bad: list[str] = []

    async def act(made: Desk) -> None:
        dice = np.random.default_rng([seed, 5])
        names = ["one", "two"]
        for name in names:
            await made.begin(name, cluster="nats://desk")
        await made.begin("fed", subscribe="nats://desk")
        made.follow("fed")
        for _ in range(kills):
            await asyncio.sleep(float(dice.uniform(20, 80)))
            gone, stays = (str(name) for name in dice.permutation(names))
            await made.kill(gone)
            took.append(await taken_over(made, stays))
            await made.begin(gone, cluster="nats://desk")
            await asyncio.sleep(float(dice.uniform(10, 40)))
            await trouble(made, dice, [stays], ["server", "cut", "reset", "slow"])
        made.broker.delay = 0.005
        await asyncio.sleep(90)
        for check in (made.assert_closed_once, made.assert_true):
            try:
                check("fed")
            except AssertionError as exc:
                bad.append(str(exc)[:300])

    play(act, seed=seed)
    return {"seed": seed, "takeover_s": took, "bad": bad}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50)
    wanted = parser.parse_args().kills
    found = [campaign(seed, min(A_DESK, wanted - seed * A_DESK)) for seed in range(-(-wanted // A_DESK))]
    took = [seconds for one in found for seconds in one["takeover_s"]]  # type: ignore[attr-defined]
    told = {
        "kills": len(took),
        "bad": [one for one in found if one["bad"]],
        "takeover_s": {"p50": float(np.median(took)), "max": max(took)},
    }
    print(json.dumps(told))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
