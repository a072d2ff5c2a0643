"""A message server on virtual time: as much of one as hubs on a relay use, and what can go wrong with it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from unittest.mock import patch

from klinehub.errors import RelayError
from klinehub.relay import relayed
from klinehub.relay.link import Kept
from klinehub.relay.subjects import Subjects

DUPLICATES = 120.0


@dataclass
class Broker:
    """What is kept, by number, who is connected, and whether anybody can be; a way takes *delay* seconds."""

    delay: float = 0.005
    up: bool = True
    kept: list[tuple[str, str, bytes]] = field(default_factory=list)
    first: int = 0
    most: int = 1_000
    leases: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    links: list["FakeLink"] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    said: list[tuple["FakeLink", str, bytes]] = field(default_factory=list)
    repeats: int = 0
    _ids: dict[str, float] = field(default_factory=dict)

    def keep(self, subject: str, data: bytes, identity: str) -> int:
        """Keep a message, unless the same was told a moment ago."""
        now = asyncio.get_running_loop().time()
        if identity and now - self._ids.get(identity, -DUPLICATES) < DUPLICATES:
            self.repeats += 1
            return len(self.kept)
        self._ids[identity] = now
        self.kept.append((subject, identity, data))
        self.tell()
        return len(self.kept)

    def tell(self) -> None:
        """Wake everybody who waits."""
        event, self.news = self.news, asyncio.Event()
        event.set()

    def away(self, *, lose: bool = False) -> None:
        """Let the server be gone; with *lose* what it kept is gone, too."""
        self.up = False
        if lose:
            self.kept.clear()
            self._ids.clear()
        for link in list(self.links):
            link.cut()

    def back(self) -> None:
        self.up = True

    def kill(self, name: str) -> None:
        """Let nothing of a hub arrive any more, as when its process is killed."""
        self.dead.add(name)
        for link in list(self.links):
            if link.name == name:
                link.cut()

    @contextmanager
    def serving(self) -> Iterator["Broker"]:
        """Take the place of the real server while the block runs."""

        @asynccontextmanager
        async def connected(url: str, subjects: Subjects, name: str) -> AsyncIterator[FakeLink]:
            del url
            if not self.up or name in self.dead:
                raise RelayError("Nothing answers there.")
            link = FakeLink(self, subjects, name)
            self.links.append(link)
            try:
                async with asyncio.TaskGroup() as group:
                    watch = group.create_task(link.broken())
                    yield link
                    watch.cancel()
            except BaseExceptionGroup as several:
                faults, bugs = several.split(RelayError)
                if faults is None or bugs is not None:
                    raise
                raise RelayError("The connection broke.") from several
            finally:
                self.links.remove(link)

        with patch.object(relayed, "connected", connected):
            yield self


class FakeLink:
    """One connection of hub *name*."""

    def __init__(self, broker: Broker, subjects: Subjects, name: str) -> None:
        self.subjects = subjects
        self.name = name
        self._broker = broker
        self._cut = asyncio.Event()

    def cut(self) -> None:
        self._cut.set()

    async def broken(self) -> None:
        await self._cut.wait()
        raise RelayError("The connection broke.")

    async def _way(self) -> None:
        await asyncio.sleep(self._broker.delay)
        if self._cut.is_set():
            raise RelayError("The connection broke.")

    async def prepare(self, most: int) -> None:
        await self._way()
        self._broker.most = max(self._broker.most, most)

    async def last(self) -> int:
        await self._way()
        return len(self._broker.kept)

    async def newest(self, subject: str) -> bytes | None:
        await self._way()
        return next((data for name, _, data in reversed(self._broker.kept) if name == subject), None)

    async def keep(self, subject: str, data: bytes, identity: str = "") -> "asyncio.Future[int]":
        async def kept() -> int:
            await self._way()
            number = self._broker.keep(subject, data, identity)
            await self._way()
            return number

        return asyncio.ensure_future(kept())

    async def acknowledged(self, sent: "list[asyncio.Future[int]]") -> int:
        return max(await asyncio.gather(*sent), default=0)

    async def leases(self, seconds: float) -> "FakeLeases":
        await self._way()
        return FakeLeases(self, self._broker, seconds)

    async def say(self, subject: str, data: bytes) -> None:
        await self._way()
        self._broker.said.append((self, subject, data))
        self._broker.tell()

    async def listen(self, subject: str) -> AsyncGenerator[bytes, None]:
        begin = subject.rstrip("*")
        at = len(self._broker.said)
        while True:
            while at < len(self._broker.said):
                _, name, data = self._broker.said[at]
                at += 1
                if name.startswith(begin):
                    yield data
            await self._broker.news.wait()

    async def read(
        self, subject: str, start: int = 1, *, bodies: bool = True
    ) -> AsyncGenerator[Kept | None, None]:
        begin, at, ended = subject.rstrip(">"), max(0, start - 1), False
        while True:
            while at < len(self._broker.kept):
                name, identity, data = self._broker.kept[at]
                at += 1
                if name.startswith(begin):
                    yield Kept(at, name, identity, data if bodies else b"", len(self._broker.kept) - at)
            if not ended:
                yield None
                ended = True
            news = self._broker.news
            if at == len(self._broker.kept):
                await news.wait()
            await self._way()


class FakeLeases:
    """The bucket of leases."""

    def __init__(self, link: FakeLink, broker: Broker, seconds: float) -> None:
        self._link, self._broker, self._seconds = link, broker, seconds

    async def put(self, name: str, data: bytes) -> None:
        await self._link._way()
        self._broker.leases[name] = (data, asyncio.get_running_loop().time())

    async def all(self) -> list[bytes]:
        await self._link._way()
        oldest = asyncio.get_running_loop().time() - self._seconds
        return [data for data, at in self._broker.leases.values() if at > oldest]
