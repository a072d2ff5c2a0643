"""The simulated archive as a server: listings as S3 tells them, zip files, checksums, and trouble."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final
from xml.sax.saxutils import escape

from aiohttp import web

from klinehub.domain.clock import Clock
from klinehub.domain.timeframe import TIMEFRAMES
from klinehub.feed.archive_names import ArchiveFile, Kind, file_of, folder_of
from klinehub.sim.archive_files import ArchiveFiles
from klinehub.sim.exchange import listen
from klinehub.sim.market import Market

_MOST_KEYS: Final = 1_000
_CHECKSUM: Final = ".CHECKSUM"
_SPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"


@dataclass(slots=True)
class ArchiveTrouble:
    """What goes wrong with the archive, by the names of files; tests switch it on.

    `missing` files are neither listed nor served, `vanished` ones are listed all the same. `damaged` ones are
    sent with a byte changed, so often; `cut` ones end early and have a checksum that fits. `statuses` are
    answered to the next requests for a name, `""` meaning any. `slow` are seconds before each answer.
    """

    missing: set[str] = field(default_factory=set)
    vanished: set[str] = field(default_factory=set)
    damaged: dict[str, int] = field(default_factory=dict)
    cut: set[str] = field(default_factory=set)
    statuses: dict[str, list[int]] = field(default_factory=dict)
    slow: float = 0.0


class ArchiveServer:
    """Serves the archives of some markets at *clock*'s time; `asked` counts requests by path."""

    def __init__(self, markets: Sequence[Market], clock: Clock) -> None:
        self.trees = {tree.root: tree for tree in (ArchiveFiles(market, clock) for market in markets)}
        self.trouble = ArchiveTrouble()
        self.asked: Counter[str] = Counter()
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen on *port*, 0 for any free one; raises DefinitionError when it is taken."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner, port = await listen(app, host, port)
        self.url = f"http://{host}:{port}"

    async def close(self) -> None:
        """End all connections and stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        path = request.path.lstrip("/")
        self.asked[path or "?"] += 1
        name = path.rpartition("/")[2]
        await asyncio.sleep(self.trouble.slow)
        statuses = self.trouble.statuses.get(name) or self.trouble.statuses.get("")
        if statuses:
            status = statuses.pop(0)
            return web.Response(
                status=status, headers={"Location": "/elsewhere"} if status // 100 == 3 else {}
            )
        if not path:
            return web.Response(body=self._listing(request.query), content_type="application/xml")
        body = await asyncio.to_thread(self._body, path)
        if body is None:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        return web.Response(body=body, content_type="application/zip")

    def _body(self, path: str) -> bytes | None:
        """Give a file or its checksum; None where there is none."""
        file, trouble = file_of(path.removesuffix(_CHECKSUM)), self.trouble
        tree = self._tree(path)
        if file is None or tree is None or not path.removesuffix(_CHECKSUM).endswith(".zip"):
            return None
        if file.name in trouble.missing | trouble.vanished or not tree.has(file):
            return None
        data = tree.content(file._replace(size=0))
        data = data[: len(data) // 2] if file.name in trouble.cut else data
        if path.endswith(_CHECKSUM):
            return f"{sha256(data).hexdigest()}  {file.name}\n".encode()
        if trouble.damaged.get(file.name, 0) > 0:
            trouble.damaged[file.name] -= 1
            data = bytes([data[0] ^ 1]) + data[1:]
        return data

    def _tree(self, path: str) -> ArchiveFiles | None:
        return next((tree for root, tree in self.trees.items() if path.startswith(f"{root}/")), None)

    def _listing(self, query: Mapping[str, str]) -> bytes:
        """List what lies directly in a folder, as S3 does with a delimiter."""
        prefix, marker = query.get("prefix", ""), query.get("marker", "")
        folders, files = self._inside(prefix)
        entries = sorted([*((one, None) for one in folders), *files.items()])
        left = [entry for entry in entries if entry[0] > marker]
        page, more = left[:_MOST_KEYS], len(left) > _MOST_KEYS
        parts = [f"<Name>data.binance.vision</Name><Prefix>{escape(prefix)}</Prefix>"]
        parts.append(f"<IsTruncated>{str(more).lower()}</IsTruncated>")
        if more:
            parts.append(f"<NextMarker>{escape(page[-1][0])}</NextMarker>")
        for name, size in page:
            if size is None:
                parts.append(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>")
            else:
                parts.append(f"<Contents><Key>{escape(name)}</Key><Size>{size}</Size></Contents>")
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="{_SPACE}">'
        return f"{text}{''.join(parts)}</ListBucketResult>".encode()

    def _inside(self, prefix: str) -> tuple[list[str], dict[str, int]]:
        """Give the folders and the files (with sizes) of a folder."""
        tree = self._tree(prefix)
        if tree is None:
            parents = (f"{root}/" for root in self.trees if root.startswith(prefix))
            return sorted({one[: one.index("/", len(prefix)) + 1] for one in parents}), {}
        span, kind, symbol, frame, *_ = [*prefix.removeprefix(f"{tree.root}/").split("/"), "", "", ""]
        if not kind:
            kinds = [one.value for one in tree.kinds() if span in tree.spans(one)]
            return [f"{prefix}{name}/" for name in (kinds if span else ("daily", "monthly"))], {}
        if kind not in tree.kinds():
            return [], {}
        if not symbol:
            return [f"{prefix}{name}/" for name in tree.symbols()], {}
        if kind == Kind.KLINES and not frame:
            return [f"{prefix}{folder_of(one)}/" for one in TIMEFRAMES.values()], {}
        found = next((name for name, one in TIMEFRAMES.items() if folder_of(one) == frame), None)
        return [], self._sizes(tree.names(span, Kind(kind), symbol, found))

    def _sizes(self, files: Iterable[ArchiveFile]) -> dict[str, int]:
        """Give the keys of files and their checksums with sizes, those that are missing left out."""
        sizes = {}
        for file in files:
            if file.name not in self.trouble.missing:
                sizes[file.path] = file.size
                sizes[file.path + _CHECKSUM] = 67 + len(file.name.encode())
        return sizes
