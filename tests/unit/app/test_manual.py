"""The command line's page is what the program says."""

from pathlib import Path

from klinehub.app.exits import CODES, exit_code
from klinehub.app.manual import manual
from klinehub.errors import BadRequest, Banned, KlinehubError

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_is_fresh() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")

    assert manual() == written, "make it anew: python -m klinehub.app.manual > docs/cli.md"


def test_the_most_telling_code_counts() -> None:
    assert exit_code(Banned("", 1)) == 5
    assert exit_code(BadRequest("", -1121)) == 7
    assert exit_code(KlinehubError()) == 1
    assert len({code for _, code, _ in CODES}) == len(CODES)
