"""The report of evidence in a real browser: from a file, in the light and in the dark, wide and narrow."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser
from tests.unit.evidence.studies import planes, studied, tape_for

from klinehub.evidence.report import report

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = studied(tape_for(planes(1_200, 40, edge=0.3)))
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(report([found, found]))
    return path


@pytest.mark.parametrize(
    ("width", "scheme"), [(1440, "dark"), (1440, "light"), (360, "dark"), (360, "light")]
)
def test_a_report_is_read_from_a_file_by_everybody(
    chromium: Browser, page: Path, width: int, scheme: str
) -> None:
    # What audits a page is a script, which the page's own policy would not let run.
    context = chromium.new_context(viewport={"width": width, "height": 900}, bypass_csp=True)
    shown, asked, said = context.new_page(), list[str](), list[str]()
    shown.on("request", lambda request: asked.append(request.url))
    shown.on("console", lambda message: said.append(message.text))
    shown.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    shown.goto(page.as_uri())
    shown.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    paper = shown.evaluate("getComputedStyle(document.body).backgroundColor")

    assert (asked, said) == ([page.as_uri()], [])
    assert paper == ("rgb(15, 18, 22)" if scheme == "dark" else "rgb(255, 255, 255)")
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    assert Axe().run(shown).response["violations"] == []
    context.close()
