"""Shapes against recorded traffic: the same keys in the same order."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from tests.unit.dialect.test_stream import events
from tests.unit.dialect.virtual import Scene, on_exchange

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("date", ["2025-11-26_647sym", "2025-12-24_660sym"])
def test_exchange_info_has_the_recorded_keys(realdata: Path, date: str) -> None:
    name = f"fapi_v1_exchangeInfo_testnet-like_{date}.json.gz"
    recorded = json.loads(gzip.decompress((realdata / "raw_rest" / name).read_bytes()))

    async def ask(scene: Scene) -> Any:
        return (await scene.get("/fapi/v1/exchangeInfo"))[1]

    ours = on_exchange(ask, symbols=30)
    assert list(ours) == list(recorded)
    for part in ("rateLimits", "assets"):
        assert {frozenset(one) for one in ours[part]} == {frozenset(one) for one in recorded[part]}
    shapes = {tuple(one) for one in recorded["symbols"]}
    assert {tuple(one) for one in ours["symbols"]} == shapes
    for one in ours["symbols"]:
        assert [type(value) for value in one.values()] == [
            type(value) for value in recorded["symbols"][0].values()
        ]

    def filters(info: Any) -> dict[str, frozenset[str]]:
        return {found["filterType"]: frozenset(found) for one in info["symbols"] for found in one["filters"]}

    # The exchange took this filter away in December 2025.
    assert filters(ours) == {k: v for k, v in filters(recorded).items() if k != "MAX_NUM_ALGO_ORDERS"}
    known = {(one["contractType"], one["status"]) for one in recorded["symbols"]}
    assert len(known & {(one["contractType"], one["status"]) for one in ours["symbols"]}) >= 6


def shape(value: Any) -> Any:
    """Give keys in order and kinds of values."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return type(value).__name__


def test_kline_frames_have_the_recorded_keys(realdata: Path) -> None:
    lines = (realdata / "raw_ws" / "single_frames_found.jsonl").read_text().splitlines()
    recorded = [json.loads(one["raw"]) for one in map(json.loads, lines) if one["market"] == "usdm"]
    lines = (realdata / "raw_ws" / "kline_frames_only.jsonl").read_text().splitlines()
    recorded += [json.loads(one["raw"]) for one in map(json.loads, lines) if one["src"] == "BINANCE_FUTURES"]

    async def follow(scene: Scene) -> Any:
        socket = await scene.connect("/market/stream?streams=btcusdt@kline_1m/ethusdt@kline_1h")
        return await events(socket, 60.0)

    ours = on_exchange(follow)
    assert len(recorded) > 60
    assert {json.dumps(shape(event)) for event in ours} == {json.dumps(shape(event)) for event in recorded}
