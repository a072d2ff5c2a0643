"""The page: the files of the board, read once at the start and given to everybody who may reach the hub.

1. The package's own folder makes the manifest: which paths there are, and what is answered at each.
2. A path is looked up in it and is never made into a file's name.
3. The files hold nothing secret: a page has to be there before it can ask for a token.
"""

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from aiohttp import web

INDEX: Final = "/"
FILES: Final = "/board/"
STATIC: Final = Path(__file__).parents[1] / "static"
_FIRST: Final = "index.html"
# What browsers are told each kind of file is; others are no part of the page.
MEDIA: Final[Mapping[str, str]] = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}
# Pictures are packed already.
_PACKED: Final = frozenset({".png"})


class File(NamedTuple):
    """A file of the page: what it is, its bytes as they are and packed, and a tag that changes with them."""

    media: str
    plain: bytes
    zipped: bytes | None
    tag: str


class Page:
    """Answers with the files of *folder*, by the paths of `paths`."""

    def __init__(self, folder: Path = STATIC) -> None:
        self._files = manifest(folder)
        self.paths = frozenset(self._files)

    def answer(self, request: web.BaseRequest, path: str) -> web.Response:
        """Give the file at a path of the manifest."""
        file = self._files[path]
        headers = {"Cache-Control": "no-cache", "ETag": file.tag, "Vary": "Accept-Encoding"}
        if any(tag.value == file.tag.strip('"') for tag in request.if_none_match or ()):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = file.media
        if file.zipped is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
            return web.Response(body=file.zipped, headers={**headers, "Content-Encoding": "gzip"})
        return web.Response(body=file.plain, headers=headers)


def manifest(folder: Path) -> dict[str, File]:
    """Read the files of a folder, by the paths that they are given at."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in MEDIA and path.is_file():
            name = path.relative_to(folder).as_posix()
            found[INDEX if name == _FIRST else FILES + name] = _file(path)
    return found


def _file(path: Path) -> File:
    plain = path.read_bytes()
    # The time of packing is left out, so that equal files are packed alike.
    zipped = None if path.suffix in _PACKED else gzip.compress(plain, mtime=0)
    return File(MEDIA[path.suffix], plain, zipped, f'"{hashlib.sha256(plain).hexdigest()[:32]}"')
