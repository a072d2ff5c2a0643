"""What the table of the board shows, read from the page."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, expect

_ROWS = """() => [...document.querySelectorAll(".rows .row:not([hidden])")]
    .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"""
_NAMES = f'() => ({_ROWS})().map((row) => row.querySelector(".name").title)'
_COLUMN = f'(at) => ({_ROWS})().map((row) => row.querySelector(`[aria-colindex="${{at}}"]`).textContent)'
# How often a condition is looked at, every 50 ms, before it is given up.
PATIENCE: Final = 300
# How what is not known is written.
UNKNOWN = "\u2013"
_HEADS = '() => [...document.querySelectorAll(".head .cell")].map((one) => one.dataset.key)'
# Something is lit for a moment only, which a look now and then may miss.
_LIT = """(name) => new Promise((done) => new MutationObserver((all, me) =>
    all.some((one) => one.target.className.includes(name)) && (me.disconnect(), done(true)))
    .observe(document.querySelector(".rows"), { subtree: true, attributes: true }))"""


def names(page: Page) -> list[str]:
    """Give the symbols of the rows that are drawn, in their order."""
    found: list[str] = page.evaluate(_NAMES)
    return found


def heads(page: Page) -> list[str]:
    """Give the keys of the columns, in their order."""
    found: list[str] = page.evaluate(_HEADS)
    return found


def column(page: Page, key: str) -> list[str]:
    """Give the texts of a column, in the order of the rows."""
    found: list[str] = page.evaluate(_COLUMN, heads(page).index(key) + 1)
    return found


def numbers(page: Page, key: str) -> list[float]:
    """Give the numbers of a column that are known, in the order of the rows."""
    return [float(text) for text in column(page, key) if text != UNKNOWN]


def wait_until(page: Page, meets: Callable[[], bool]) -> None:
    """Wait until what the test has heard of meets a condition: the page may be ahead of what it told."""
    for _ in range(PATIENCE):
        if meets():
            return
        page.wait_for_timeout(50)
    assert meets()


def wait_until_lit(page: Page, name: str) -> None:
    """Wait until a cell is lit."""
    assert page.evaluate(_LIT, name)


def sides(page: Page, selector: str) -> tuple[float, float]:
    """Give where the first of such parts of the page begins and ends, from the left in pixels."""
    # It may be made anew while it is asked for, and has no place then.
    box = f"document.querySelector('{selector}')?.getBoundingClientRect()"
    left, right = page.wait_for_function(f"() => {box}?.width && [{box}.left, {box}.right]").json_value()
    return left, right


def wait_for_numbers(page: Page, key: str, meet: str) -> None:
    """Wait until all numbers of a column meet a condition of `x`."""
    at = heads(page).index(key) + 1
    cells = f"document.querySelectorAll('.rows .row:not([hidden]) [aria-colindex=\"{at}\"]')"
    numbers = f"[...{cells}].map((one) => one.textContent).filter((one) => one !== '{UNKNOWN}').map(Number)"
    page.wait_for_function(f"() => {numbers}.length && {numbers}.every((x) => {meet})")


def wait_for_order(page: Page, key: str, *, rising: bool = False) -> None:
    """Wait until the numbers of a column that are known stand in their order."""
    wait_until(page, lambda: in_order(numbers(page, key), rising=rising))


def in_order(found: list[float], *, rising: bool) -> bool:
    """Whether there are numbers, and they stand in their order."""
    return bool(found) and found == sorted(found, reverse=not rising)


def wait_for_columns(page: Page, *keys: str) -> None:
    """Wait until exactly these columns are shown."""
    page.wait_for_function(f"(keys) => ({_HEADS})().join('|') === keys", arg="|".join(keys))


def listed(page: Page) -> int:
    """Give how many symbols there are, once there is a table of them."""
    count = page.locator(".count")
    expect(count).to_have_text(re.compile(r"^\d+ of \d+$"))
    return int(count.inner_text().split()[-1])


def wait_until_counted(page: Page, name: str, least: int, most: int) -> None:
    """Wait until a line of the market's breadth counts so many symbols: each counts once it was told of."""
    line = f"[...document.querySelectorAll('.breadth')].find((one) => one.textContent.includes('{name}'))"
    found = f"[...{line}.innerText.matchAll(/(?:^|\\s)\\S (\\d+)/g)]"
    counted = f"{found}.reduce((sum, one) => sum + Number(one[1]), 0)"
    page.wait_for_function(f"() => {least} <= {counted} && {counted} <= {most}")


def rows(page: Page) -> int:
    """Give how many rows the table has."""
    return int(page.get_by_role("grid").get_attribute("aria-rowcount") or 0) - 1


def wait_for_rows(page: Page, count: int) -> None:
    """Wait until the table has so many rows."""
    expect(page.get_by_role("grid")).to_have_attribute("aria-rowcount", str(count + 1))


def saved(page: Page, label: str, folder: Path) -> Path:
    """Save what is shown, in a format by its name; gives the file."""
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name=label).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path
