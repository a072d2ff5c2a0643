"""The exchange's bulk archive: what is in it, and its files, each held against its checksum."""

import asyncio
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Final, NamedTuple
from urllib.parse import quote
from xml.etree import ElementTree as ET

import aiohttp
from yarl import URL

from klinehub.errors import Blocked, DataError, FeedError, ProxyError, Unreachable
from klinehub.feed.archive_names import ArchiveFile, file_of
from klinehub.feed.base import Network
from klinehub.feed.network import PROXY_FAILURES, endpoint, explain, printable, redact
from klinehub.feed.rest import WAYS_OUT

FILES_URL: Final = "https://data.binance.vision"
LISTING_URL: Final = "https://s3-ap-northeast-1.amazonaws.com/data.binance.vision"
# The largest file that is taken, packed; a month of 1m bars has 2 MiB.
MOST_PACKED: Final = 64 << 20
# Seconds before each further try; the archive has neither weight nor bans, only bad moments.
PAUSES: Final = (0.5, 2.0, 8.0)
_OK, _NOT_FOUND, _PROXY_LOGIN = 200, 404, 407
_AGAIN: Final = frozenset({408, 425, 429})
_BROKEN: Final = 500
_CHECKSUM: Final = re.compile(rb"([0-9a-fA-F]{64})\s+\*?(\S[^\r\n]*?)\s*")


class Fetched(NamedTuple):
    """A file's bytes and their SHA-256; `verified` where the archive has a checksum and it is that."""

    data: bytes
    digest: str
    verified: bool


class _Page(NamedTuple):
    folders: tuple[str, ...]
    files: tuple[tuple[str, int], ...]
    marker: str | None


class Archive:
    """Reads the archive at *files_url*, listed at *listing_url*, over *network*; `close` it when done.

    *timeout* is in seconds and covers one try of one file; *pauses* are those before each further try.
    """

    def __init__(
        self,
        network: Network,
        files_url: str = FILES_URL,
        listing_url: str = LISTING_URL,
        *,
        timeout: float = 60.0,
        pauses: tuple[float, ...] = PAUSES,
    ) -> None:
        self._network = network
        self._files = files_url.rstrip("/")
        self._listing = listing_url.rstrip("/")
        self._timeout = timeout
        self._pauses = pauses
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def close(self) -> None:
        """Close every connection; further calls open new ones."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()

    async def symbols(self, folder: str) -> tuple[str, ...]:
        """List the symbols that *folder* has a folder for, those that trade no more included."""
        found: list[str] = []
        marker: str | None = ""
        while marker is not None:
            page = await self._page(folder, marker)
            found += [one.removeprefix(folder).strip("/") for one in page.folders]
            marker = page.marker
        return tuple(found)

    async def files(self, folder: str, *, since: str = "", until: int) -> tuple[ArchiveFile, ...]:
        """List the files of one series that begin before *until* (ms UTC), from the date *since* on."""
        symbol, what = _of_folder(folder)
        found: list[ArchiveFile] = []
        marker: str | None = f"{folder}{symbol}-{what}-{since}" if since else ""
        while marker is not None:
            page = await self._page(folder, marker)
            known = [file_of(path, size) for path, size in page.files if path.endswith(".zip")]
            found += [file for file in known if file is not None and file.start < until]
            beyond = any(file is not None and file.start >= until for file in known)
            marker = None if beyond else page.marker
        return tuple(found)

    async def fetch(self, file: ArchiveFile) -> Fetched | None:
        """Give a file that fits its checksum; None where the archive does not have it.

        One that does not fit is fetched once more. Raises DataError when it still does not, or a FeedError.
        """
        for _ in ("first", "again"):
            told = await self._get(self._files, f"/{quote(file.path)}.CHECKSUM")
            data = await self._get(self._files, f"/{quote(file.path)}")
            if data is None:
                return None
            digest = sha256(data).hexdigest()
            if told is None or digest == digest_of(told, file.name):
                return Fetched(data, digest, verified=told is not None)
        raise DataError(f"{file.name} does not fit its checksum, fetched twice: it is left out for now.")

    async def _page(self, folder: str, marker: str) -> _Page:
        """Ask for one page of a folder's listing."""
        params = {"delimiter": "/", "prefix": folder, "marker": marker}
        query = "&".join(f"{key}={quote(value, safe='/')}" for key, value in params.items() if value)
        body = await self._get(self._listing, f"/?{query}")
        if body is None:
            raise FeedError(f"{self._listing} lists nothing: check `exchange.archive_listing_url`.")
        return parse_listing(body, self._listing)

    async def _get(self, base: str, path: str) -> bytes | None:
        """Give the body at a path, None for 404; what a further try may heal is tried again."""
        for pause in self._pauses:
            try:
                return await self._try(base, path)
            except Unreachable:
                await asyncio.sleep(pause)
        return await self._try(base, path)

    async def _try(self, base: str, path: str) -> bytes | None:
        session = self._sessions.get(base)
        if session is None:
            session = self._sessions[base] = self._network.session(base, timeout=self._timeout)
        try:
            url = URL(base + path, encoded=True)
            async with session.get(url, allow_redirects=False) as response:
                if response.status == _OK:
                    return await self._body(response)
                _judge(response.status, response.headers, f"{endpoint(base)[0]} answered {url.path}")
                return None
        except (aiohttp.ClientError, OSError, *PROXY_FAILURES) as error:
            raise explain(error, base, self._network.via(base)) from error

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        """Read a body up to the cap."""
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > MOST_PACKED:
                response.close()
                raise FeedError(f"{response.url} is larger than {MOST_PACKED >> 20} MiB: no archive's file.")
        return bytes(body)


def _judge(status: int, headers: Mapping[str, str], says: str) -> None:
    """Raise what a status other than 200 means; 404 means that nothing is there."""
    says = f"{says} with status {status}"
    if status in WAYS_OUT:
        raise Blocked(f"{says}: {WAYS_OUT[status]}")
    if status == _PROXY_LOGIN:
        raise ProxyError(f"{says}: the proxy wants other credentials; correct network.proxy.")
    if status in _AGAIN or status >= _BROKEN:
        raise Unreachable(f"{says}: wait a little and try again.")
    if status != _NOT_FOUND:
        where = headers.get("Location")
        to = f", a redirect to {printable(redact(where))}" if where else ""
        raise FeedError(f"{says}{to}: this is not the archive; check `exchange.archive_url` and any proxy.")


def digest_of(told: bytes, name: str) -> str:
    """Read the SHA-256 of a file from its CHECKSUM, a line as sha256sum prints it; raises DataError."""
    found = _CHECKSUM.fullmatch(told)
    if found is None or found[2].decode("utf-8", "replace").rpartition("/")[2] != name:
        raise DataError(f"The checksum of {name} is no line of sha256sum for it: it is left out for now.")
    return found[1].decode().lower()


def parse_listing(body: bytes, where: str) -> _Page:
    """Read a page of an S3 listing; raises FeedError when it is none."""
    stranger = f"{where} answered with no listing: check `exchange.archive_listing_url` and any proxy"
    try:
        text = body.decode()
        # No listing declares entities; those of an enemy could unfold to gigabytes, in other encodings too.
        if "<!DOCTYPE" in text:
            raise FeedError(f"{stranger}.")
        return _page(ET.fromstring(text))  # noqa: S314 - see above
    except (ET.ParseError, ValueError) as error:
        raise FeedError(f"{stranger} ({error}).") from error


def _page(root: ET.Element) -> _Page:
    space = root.tag.rpartition("}")[0] + "}" if root.tag.startswith("{") else ""
    folders = tuple(one.findtext(f"{space}Prefix", "") for one in root.iter(f"{space}CommonPrefixes"))
    entries = ((one.findtext(f"{space}Key", ""), one) for one in root.iter(f"{space}Contents"))
    files = tuple((key, int(one.findtext(f"{space}Size", "0"))) for key, one in entries)
    if root.findtext(f"{space}IsTruncated", "false").lower() != "true":
        return _Page(folders, files, None)
    last = max([*folders, *(key for key, _ in files)], default=None)
    return _Page(folders, files, root.findtext(f"{space}NextMarker") or last)


def _of_folder(folder: str) -> tuple[str, str]:
    """Give the symbol and the timeframe or kind that the names of a folder's files begin with."""
    parts = folder.strip("/").split("/")
    return (parts[-2], parts[-1]) if parts[-3] == "klines" else (parts[-1], parts[-2])
