"""The link on a real server: what is kept comes back in order, and each way it can fail is told apart."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from tests.unit.relay.clocks import real_clock

from klinehub.bench.nats import Server, free_port
from klinehub.errors import RelayError
from klinehub.relay.link import Kept, connected
from klinehub.relay.members import Membership
from klinehub.relay.subjects import Subjects

SUBJECTS = Subjects("test", "market")
PATIENCE = 20.0


@asynccontextmanager
async def reading(url: str, start: int = 1) -> AsyncIterator[AsyncIterator[Kept | None]]:
    async with (
        connected(url, SUBJECTS, "reader") as link,
        asyncio.timeout(PATIENCE),
        aclosing(link.read(SUBJECTS.klines, start)) as found,
    ):
        yield found


async def read(url: str, start: int, count: int) -> list[Kept]:
    found: list[Kept] = []
    async with reading(url, start) as kept:
        async for one in kept:
            if one is not None:
                found.append(one)
            if len(found) == count:
                break
    return found


async def read_until_it_ends(url: str, at_end: Callable[[], None]) -> None:
    async with reading(url) as kept:
        async for one in kept:
            if one is None:
                at_end()


async def write(url: str, *texts: str, subject: str = "klines.1m") -> None:
    async with connected(url, SUBJECTS, "writer") as link:
        await link.prepare(50)
        sent = [await link.keep(f"{SUBJECTS.root}.{subject}", text.encode(), text) for text in texts]
        await link.acknowledged(sent)


async def test_what_is_kept_is_read_in_order_and_once_though_it_was_told_twice(nats_server: Server) -> None:
    await write(nats_server.url, "a", "b", "a", "c")
    await write(nats_server.url, "b", "d")

    found = await read(nats_server.url, 1, 4)
    assert [(one.sequence, one.data, one.id, one.behind) for one in found] == [
        (n + 1, text.encode(), text, 3 - n) for n, text in enumerate("abcd")
    ]
    assert [one.data for one in await read(nats_server.url, 3, 2)] == [b"c", b"d"]


async def test_the_newest_of_each_subject_are_kept(nats_server: Server) -> None:
    await write(nats_server.url, *(f"{n}" for n in range(60)))
    await write(nats_server.url, "x", subject="klines.5m")

    found = await read(nats_server.url, 1, 51)
    assert [one.data for one in found[:50]] == [b"%d" % n for n in range(10, 60)]
    assert found[50].subject.endswith("klines.5m")


async def test_the_end_of_what_is_kept_is_said_then_news_come(nats_server: Server) -> None:
    await write(nats_server.url, "a")
    seen: list[bytes | None] = []
    async with reading(nats_server.url) as kept:
        async for one in kept:
            seen.append(None if one is None else one.data)
            if seen == [b"a", None]:
                await write(nats_server.url, "b")
            if len(seen) == 4:
                break
    assert seen == [b"a", None, b"b", None]


async def test_nothing_that_was_acknowledged_is_lost_when_the_server_is_killed(nats_server: Server) -> None:
    await write(nats_server.url, *(f"{n}" for n in range(30)))
    nats_server.kill()
    nats_server.start()
    await write(nats_server.url, "last")

    found = await read(nats_server.url, 1, 31)
    assert [one.data for one in found] == [*(b"%d" % n for n in range(30)), b"last"]


async def test_a_reader_ends_when_the_server_is_gone(nats_server: Server) -> None:
    await write(nats_server.url, "a")

    with pytest.raises(RelayError, match=r"nats://127\.0\.0\.1:\d+.* (broke|closed)"):
        await read_until_it_ends(nats_server.url, nats_server.kill)


async def test_a_server_that_stands_still_ends_the_link_after_some_seconds(nats_server: Server) -> None:
    await write(nats_server.url, "a")

    with pytest.raises(RelayError, match="does not answer"):
        await read_until_it_ends(nats_server.url, nats_server.freeze)
    nats_server.freeze(thaw=True)


async def test_nobody_there_is_said() -> None:
    with pytest.raises(RelayError, match=r"Nothing answers at nats://127\.0\.0\.1:\d+ .*: start nats-server"):
        async with connected(f"nats://127.0.0.1:{free_port()}", SUBJECTS, "one"):
            pass


@pytest.fixture
def guarded(nats_program: str) -> Iterator[Server]:
    """A server that wants a name and a password."""
    assert nats_program
    server = Server("--user", "desk", "--pass", "open sesame")
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.mark.parametrize("who", ["", "desk:wrong@"])
async def test_wrong_credentials_are_said_and_not_shown(guarded: Server, who: str) -> None:
    with pytest.raises(RelayError, match="refuses these credentials") as told:
        async with connected(f"nats://{who}127.0.0.1:{guarded.port}", SUBJECTS, "one"):
            pass
    assert "wrong" not in str(told.value)


async def test_what_a_user_may_not_do_is_said_with_the_subject(nats_program: str, tmp_path: Path) -> None:
    assert nats_program
    rights = 'authorization { users: [ { user: a, password: b, permissions: { publish: ["_INBOX.>"] } } ] }'
    (tmp_path / "nats.conf").write_text(rights, "utf-8")
    server = Server("-c", str(tmp_path / "nats.conf"))
    try:
        server.start()
        with pytest.raises(RelayError, match=r"does not let this user do what is needed: .*violation"):
            await write(f"nats://a:b@127.0.0.1:{server.port}", "a")
    finally:
        server.remove()


async def test_the_right_ones_open_the_door(guarded: Server) -> None:
    await write(f"nats://desk:open%20sesame@127.0.0.1:{guarded.port}", "a")


async def test_a_server_that_keeps_nothing_is_said(nats_program: str) -> None:
    assert nats_program
    server = Server(jetstream=False)
    try:
        server.start()
        with pytest.raises(RelayError, match=r"keeps no messages: start nats-server with JetStream \(-js\)"):
            await write(server.url, "a")
    finally:
        server.remove()


async def test_members_find_each_other_and_one_that_is_gone_is_forgotten(nats_server: Server) -> None:
    seen: list[frozenset[str]] = []
    one = Membership("one", real_clock(), seen.append)
    two = Membership("two", real_clock(), lambda _: None)
    one.ready = two.ready = True

    async def member(membership: Membership) -> None:
        async with connected(nats_server.url, SUBJECTS, "member") as link:
            await membership.run(link)

    async def until(members: set[str]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not seen or seen[-1] != members:  # noqa: ASYNC110 - told by a callback
                await asyncio.sleep(0.05)

    async with asyncio.TaskGroup() as group:
        stays = group.create_task(member(one))
        goes = group.create_task(member(two))
        await until({"two"})
        goes.cancel()
        await until(set())
        stays.cancel()
    assert frozenset({"two"}) in seen
