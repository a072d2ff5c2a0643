"""A dry run of freqtrade on a hub over a hundred closes, judged: `python -m tests.freqtrade.run`."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.freqtrade import bot
from tests.freqtrade.stage import MINUTE, Stage, stage
from tests.freqtrade.verdict import verdict

from klinehub.domain.clock import Clock

# Market minutes for which a bot that is not there yet, or late, is waited for.
PATIENCE = 15


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--freqtrade", type=Path, default=Path(".venv-freqtrade/bin/freqtrade"))
    parser.add_argument(
        "--faketime", default=next(map(str, Path("/").glob(bot.FAKETIME)), ""), help="library"
    )
    parser.add_argument("--closes", type=int, default=100)
    parser.add_argument("--speed", type=float, default=10.0)
    parser.add_argument("--symbols", type=int, default=12)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where the bot's files are left")
    return parser.parse_args()


async def main(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    async with stage(given.symbols, given.seed, given.speed) as made:
        listings = [made.hub.listings[symbol] for symbol in made.hub.symbols[: given.pairs]]
        pairs = {f"{one.base_asset}/USDT:USDT": one.symbol for one in listings}
        config = bot.config(made.url, list(pairs), folder)
        (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        made.reached.clear()
        environment = {"KLINEHUB_SEEN": str(folder / "seen.jsonl"), "KLINEHUB_URL": made.url}
        clock = bot.clock_environment(made.clock, given.faketime)
        async with bot.trading(given.freqtrade, folder, environment | clock) as process:
            seen = asyncio.create_task(closes_seen(made, folder, given.closes, len(pairs)))
            ended = asyncio.create_task(process.wait())
            await asyncio.wait({seen, ended}, return_when=asyncio.FIRST_COMPLETED)
            seen.cancel()
            if ended.done():
                sys.exit(f"freqtrade ended on its own ({process.returncode}): see {folder / 'bot.log'}")
        return verdict(made, pairs, folder, given.closes)


async def closes_seen(made: Stage, folder: Path, closes: int, pairs: int) -> None:
    """Wait until so many closes of each pair were seen, at most as long as that may take."""
    clock: Clock = made.clock
    until = clock.now() + (closes + PATIENCE) * MINUTE.milliseconds
    while clock.now() < until and sum("pair" in line for line in bot.seen(folder)) < closes * pairs:  # noqa: ASYNC110
        await asyncio.sleep(1.0)
    # The bar that the last one was seen of has been seen of every pair by now.
    await asyncio.sleep(20 / clock.rate)


if __name__ == "__main__":
    asked = arguments()
    if asked.speed != 1.0 and not Path(asked.faketime).exists():
        sys.exit(
            "A fast market needs libfaketime: apt-get install faketime, or give --speed 1 and 100 minutes."
        )
    with tempfile.TemporaryDirectory() as kept:
        place = asked.folder or Path(kept)
        place.mkdir(parents=True, exist_ok=True)
        result = asyncio.run(main(asked, place.resolve()))
    sys.stdout.write(json.dumps(result, indent=1) + "\n")
    sys.exit(0 if result["ok"] else 1)
