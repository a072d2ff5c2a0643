"""docs/alerts.md: what it shows is what is printed, and what it has you write is understood."""

import re
from pathlib import Path

import pytest
from tests.unit.alerts.telling import END, alert, kept, message, style

from klinehub.alerts.message import written
from klinehub.alerts.messenger import Messenger
from klinehub.alerts.outbox import Message
from klinehub.alerts.rule import RuleText
from klinehub.app.config import load
from klinehub.feed.network import RealNetwork
from klinehub.settings import AlertSettings, TargetSettings, WebhookSettings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "alerts.md").read_text("utf-8")
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_message_of_the_manual_is_what_is_printed(language: str) -> None:
    said = written(message([kept()]), style(language), 4_096)

    assert f"```text\n{said.title}\n{said.body}\n```" in PAGE


def test_a_digest_of_the_manual_is_what_is_printed() -> None:
    alerts = [
        kept(n, time=END, symbol=f"S{n}USDT", rule="oversold" if n % 3 else "breakout", score=-3.0 * n)
        for n in range(12)
    ]
    said = written(Message(7, "18bcfe56800-7", "phone", END, 0, tuple(alerts)), style(), 4_096)

    assert f"```text\n{said.title}\n{said.body}\n```" in PAGE


@pytest.mark.parametrize("text", EXAMPLES)
async def test_each_example_is_understood(tmp_path: Path, text: str) -> None:
    file = tmp_path / "klinehub.toml"
    file.write_text(text)

    config = load(file, {})

    for name, settings in config.targets.items():
        there = Messenger(name, settings, style(settings.lang), RealNetwork(config.proxy).route)
        await there.begin()
        assert there.failure == ""
        assert there.where


def test_each_key_is_explained() -> None:
    known = set(re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE))
    named = {name for cell in known for name in re.findall(r"`(\w+)`", cell)}
    tables = (RuleText, TargetSettings, AlertSettings)

    assert {name for table in tables for name in table.__struct_fields__} - named == set()
    assert set(WebhookSettings.__struct_fields__) >= {"url", "secret"}


def test_all_five_messengers_and_the_signed_webhook_have_an_example() -> None:
    whole = "".join(EXAMPLES)

    for start in (
        "tgram://",
        "https://discord.com/",
        "feishu://",
        "dingtalk://",
        "https://qyapi.",
        "[webhooks.",
    ):
        assert start in whole
    assert alert().key in PAGE
