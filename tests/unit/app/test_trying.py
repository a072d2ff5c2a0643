"""Targets tried out from settings alone, without a hub."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from klinehub.alerts.delivering import Tried
from klinehub.app.config import Config, load
from klinehub.app.trying import tried
from klinehub.domain.clock import Clock
from klinehub.errors import UnknownName

CLOCK = Clock(1_700_000_000_000, 1.0, lambda: 0.0)


@pytest.fixture
async def asked(tmp_path: Path) -> AsyncIterator[tuple[Config, list[Any]]]:
    """Give settings with targets at a server here, and what it was asked."""
    found: list[Any] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        found.append((request.path, await request.json()))
        return web.Response(status=401 if request.path == "/wrong" else 200)

    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    where = f"127.0.0.1:{runner.addresses[0][1]}"
    file = tmp_path / "klinehub.toml"
    file.write_text(
        f"""
[output]
tz = "Asia/Shanghai"
[targets.phone]
url = "json://{where}/phone"
lang = "zh"
[targets.wrong]
url = "json://{where}/wrong"
[webhooks.desk]
url = "http://{where}/desk"
secret = "sixteen characters and more"
allow_private = true
"""
    )
    yield load(file, {}), found
    await runner.cleanup()


async def test_a_messenger_is_sent_an_alert_that_says_it_is_none(asked: tuple[Config, list[Any]]) -> None:
    config, found = asked

    assert await tried(config, "phone", CLOCK) == Tried("phone", ok=True)

    ((path, said),) = found
    assert path == "/phone"
    assert "BTCUSDT 15m" in said["title"]
    assert said["title"].startswith("测试")
    assert "2023-11-15 06:00 CST" in said["message"]


async def test_a_wrong_token_is_told_with_the_way_out(asked: tuple[Config, list[Any]]) -> None:
    config, _ = asked

    answer = await tried(config, "wrong", CLOCK)

    assert not answer.ok
    assert "status 401: check the `url` of targets.wrong" in answer.detail


async def test_a_webhook_is_told_that_it_is_a_test(asked: tuple[Config, list[Any]]) -> None:
    config, found = asked

    assert (await tried(config, "desk", CLOCK)).ok
    assert found == [("/desk", {"type": "test", "time": CLOCK.now(), "rule": "test"})]


async def test_a_target_that_is_not_there_is_refused_with_the_nearest(
    asked: tuple[Config, list[Any]],
) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'phone'"):
        await tried(asked[0], "phome", CLOCK)
