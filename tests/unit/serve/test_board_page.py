"""The page: which files are given, how, and what of a request has no say in it."""

import gzip
import re
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from klinehub.serve.board.page import MEDIA, STATIC, Page


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a small page, with something in it that is no part of one."""
    for name, text in {
        "index.html": "<!doctype html>",
        "board.css": "body { color: black }" * 50,
        "js/main.js": "start();",
        "notes.md": "not for pages",
        "secret": "not for pages",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def ask(page: Page, path: str, **headers: str) -> web.Response:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return page.answer(make_mocked_request("GET", path, headers=told), path)


def test_the_manifest_has_what_a_page_is_made_of_and_nothing_else(folder: Path) -> None:
    assert Page(folder).paths == {"/", "/board/board.css", "/board/js/main.js"}


def test_a_file_is_what_it_was_at_the_start(folder: Path) -> None:
    page = Page(folder)
    (folder / "js" / "main.js").write_text("stop();")
    (folder / "js" / "late.js").write_text("late();")

    assert ask(page, "/board/js/main.js").body == b"start();"
    assert "/board/js/late.js" not in page.paths


def test_a_file_says_what_it_is_and_is_packed_for_who_can_unpack_it(folder: Path) -> None:
    page = Page(folder)
    plain = ask(page, "/board/board.css")
    packed = ask(page, "/board/board.css", Accept_Encoding="gzip, br")

    assert plain.headers["Content-Type"] == "text/css; charset=utf-8"
    assert plain.headers["Cache-Control"] == "no-cache"
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert isinstance(packed.body, bytes)
    assert gzip.decompress(packed.body) == plain.body
    assert len(packed.body) < 100


def test_who_has_a_file_is_not_given_it_again(folder: Path) -> None:
    page = Page(folder)
    tag = ask(page, "/").headers["ETag"]

    assert ask(page, "/", If_None_Match=tag).status == 304
    assert ask(page, "/", If_None_Match='"other"').status == 200
    (folder / "index.html").write_text("<!doctype html><p>new")
    assert ask(Page(folder), "/", If_None_Match=tag).status == 200


def test_the_page_that_is_shipped_has_its_files() -> None:
    page = Page()

    assert "/" in page.paths
    assert {path.suffix for path in STATIC.rglob("*") if path.is_file()} <= {*MEDIA, ""}


def test_the_page_has_no_script_and_no_style_written_into_it() -> None:
    text = (STATIC / "index.html").read_text("utf-8")

    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text, re.IGNORECASE)
    assert not re.search(r"""(src|href)=["'](https?:|//|data:|/)""", text)
