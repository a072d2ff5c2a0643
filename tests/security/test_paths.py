"""Row 6 of docs/security.md: paths that lead to files."""

import sys
from typing import Final

import pytest
from tests.security.door import Place, with_hub
from tests.sim.worlds import World

from klinehub.serve.board.page import Page

pytestmark = pytest.mark.timeout(180)
STRAY_PATHS: Final = (
    "/../../etc/passwd",
    "/fapi/v1/../../../etc/passwd",
    "/fapi/v1/..%2f..%2f..%2fetc%2fpasswd",
    "/fapi/%2e%2e/%2e%2e/etc/passwd",
    "/fapi/v1/klines%00.json",
    "/fapi/v1/klines?interval=1m&symbol=..%2f..%2fetc%2fpasswd",
    "/fapi/v1/klines?interval=1m&symbol=BTCUSDT%00",
    "/fapi/v1/klines?interval=1m&symbol=BTCUSDT%0a",
    "/fapi/v1/klines?interval=1m&symbol=%2fetc%2fpasswd",
    "/fapi/v1/klines?interval=1m&symbol=.",
    "/fapi/v1/klines?interval=..%2f1m&symbol=BTCUSDT",
    f"/fapi/v1/klines?interval=1m&symbol={'A' * 4_000}",
    f"/fapi/v1/klines?interval=1m&symbol=BTCUSDT&{'&'.join(f'x{n}=1' for n in range(100))}",
    "/fapi/v1/continuousKlines?interval=1m&contractType=PERPETUAL&pair=..%2f..",
    "/c/../../etc/passwd",
    f"/{'a/' * 3_000}",
)


def strays(file: str) -> list[str]:
    """Give ways to write a path that is not a file's own and may be taken for it."""
    strays = [
        "/board/../api/v1/status",
        "/board/%2e%2e/api/v1/status",
        "/board/..%2fapi/v1/status",
        "/board/..%5c..%5csite.py",
        "/board/../page.py",
        "/board/../../guard.py",
        "/board//etc/passwd",
        "/board/%2fetc%2fpasswd",
        "/board/./" + file.rpartition("/")[2],
        f"{file}/",
        f"{file}/..",
        f"/{file}",
        f"{file}%00",
        f"{file}%00.html",
        file.upper(),
    ]
    return [path for path in strays if path != file]


def test_row_06_the_page_has_the_files_of_its_manifest_and_no_others() -> None:
    async def test(place: Place, _: World) -> None:
        page = Page()
        for file in sorted(page.paths):
            for path in strays(file):
                assert (await place.ask(path)).status == 404, path
        assert (await place.ask("/board/../")).status == 404

    with_hub(test)


def test_row_06_no_path_and_no_symbol_leads_to_a_file() -> None:
    opened: list[str] = []
    watching = [False]
    # There is no way to take such a hook off again.
    sys.addaudithook(
        lambda event, given: opened.append(str(given)) if event == "open" and watching[0] else None
    )

    async def test(place: Place, _: World) -> None:
        watching[0] = True
        for path in STRAY_PATHS:
            said = await place.ask(path)
            assert said.status in ({200} if "x50=" in path else {400, 403, 404, 503}), path
            assert b"root:" not in said.body
        watching[0] = False

    with_hub(test)
    assert not [path for path in opened if "passwd" in path or "AAAA" in path]
