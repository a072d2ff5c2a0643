"""The sockets: frames of a read handed on together, and a connection that comes back."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pytest
from aiohttp import WSMsgType, web
from hypothesis import given
from hypothesis import strategies as st

from klinehub.feed import socket as socket_module
from klinehub.feed.socket import (
    BACKOFF,
    BUFFER_BYTES,
    BUFFER_FRAMES,
    LIFETIME,
    MESSAGE_PAUSE,
    Intake,
    StreamSocket,
)
from klinehub.panel.memory import I64, U8
from klinehub.sim.loop import SimLoop, SimNetwork, run
from klinehub.sim.wire import steady

PORT: Final = 8080
URL: Final = f"ws://127.0.0.1:{PORT}/market/stream"
DELAY: Final = 0.01


class Sink:
    """Keeps what an intake hands on, one list of frames a time."""

    def __init__(self) -> None:
        self.reads: list[list[bytes]] = []

    def __call__(self, buf: U8, ends: I64, frames: int) -> None:
        starts = [0, *(int(end) for end in ends[: frames - 1])]
        self.reads.append([bytes(buf[a:b]) for a, b in zip(starts, ends[:frames], strict=True)])

    @property
    def frames(self) -> list[bytes]:
        return [frame for read in self.reads for frame in read]


@given(st.lists(st.binary(max_size=300), max_size=60), st.integers(1, 12))
def test_frames_are_handed_on_whole_and_in_order(frames: list[bytes], each: int) -> None:
    sink = Sink()
    intake = Intake(sink)
    for at in range(0, len(frames), each):
        added = [intake.add(memoryview(frame)) for frame in frames[at : at + each]]
        assert added == [n == 0 for n in range(len(added))]
        intake.flush()
    intake.flush()

    assert sink.reads == [frames[at : at + each] for at in range(0, len(frames), each)]


def test_a_full_intake_hands_on_by_itself() -> None:
    sink = Sink()
    intake = Intake(sink)
    for n in range(BUFFER_FRAMES + 2):
        assert intake.add(memoryview(b"%d" % n)) == (n in {0, BUFFER_FRAMES})
    large = np.arange(BUFFER_BYTES // 8).tobytes()
    intake.add(memoryview(large))
    intake.flush()

    assert [len(read) for read in sink.reads] == [BUFFER_FRAMES, 2, 1]
    assert sink.frames == [*(b"%d" % n for n in range(BUFFER_FRAMES + 2)), large]


def test_a_frame_larger_than_any_that_is_let_through_is_refused() -> None:
    with pytest.raises(ValueError, match=r"size|shape|structure"):
        Intake(Sink()).add(memoryview(bytes(BUFFER_BYTES + 1)))


@dataclass
class Scene:
    """A server, a stream socket on it, and what happened when."""

    loop: SimLoop
    sink: Sink
    socket: StreamSocket
    heard: list[tuple[float, str]] = field(default_factory=list)
    events: list[tuple[float, str]] = field(default_factory=list)
    clients: list[web.WebSocketResponse] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        self.clients.append(ws)
        self.events.append((self.loop.time(), "connected"))
        async for message in ws:
            if message.type == WSMsgType.TEXT:
                self.heard.append((self.loop.time(), message.data))
        return ws

    def times(self, kind: str) -> list[float]:
        return [time for time, what in self.events if what.startswith(kind)]


def played(
    act: Callable[[Scene], Awaitable[Any]],
    *,
    messages: tuple[str, ...] = ("one", "two", "three"),
    sink: Sink | None = None,
    up: bool = True,
) -> Scene:
    """Run *act* while a stream socket lives against a server (if *up*)."""

    async def main(loop: SimLoop) -> Scene:
        rng = np.random.default_rng(3)
        kept = sink or Sink()
        scene: Scene

        def note(kind: str) -> Callable[..., None]:
            return lambda *why: scene.events.append((loop.time(), " ".join((kind, *why))))

        socket = StreamSocket(
            SimNetwork(),
            URL,
            messages,
            Intake(kept),
            on_up=note("up"),
            on_down=note("down"),
            jitter=rng.random,
        )
        scene = Scene(loop, kept, socket)
        app = web.Application()
        app.add_routes([web.get("/market/stream", scene.serve)])
        runner = web.AppRunner(app)
        await runner.setup()
        if up:
            await web.TCPSite(runner, "127.0.0.1", PORT).start()
        living = asyncio.create_task(socket.run())
        acting = asyncio.ensure_future(act(scene))
        done, _ = await asyncio.wait([living, acting], return_when=asyncio.FIRST_COMPLETED)
        living.cancel()
        await asyncio.wait([living])
        await runner.cleanup()
        for task in done:
            await task
        return scene

    return run(main, delay=steady(DELAY))


def test_it_subscribes_message_by_message_and_is_up_after_the_last() -> None:
    async def act(scene: Scene) -> None:
        assert not scene.socket.up
        await asyncio.sleep(5)
        assert scene.socket.up

    scene = played(act)
    assert [text for _, text in scene.heard] == ["one", "two", "three"]
    gaps = np.diff([time for time, _ in scene.heard])
    assert gaps == pytest.approx([MESSAGE_PAUSE] * 2)
    assert [what for _, what in scene.events] == ["connected", "up"]
    assert scene.times("up")[0] >= scene.heard[-1][0]


def test_what_one_read_brings_is_handed_on_together() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(1)
        for read in (["a"], ["b", "c", "d"], ["e", "f"]):
            for text in read:
                await scene.clients[0].send_str(text)
            await asyncio.sleep(1)
        await scene.clients[0].send_bytes(b"no text")
        await scene.clients[0].ping()
        await asyncio.sleep(1)

    scene = played(act)
    assert scene.sink.reads == [[b"a"], [b"b", b"c", b"d"], [b"e", b"f"]]


def test_it_comes_back_when_the_other_side_closes() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(30)
        await scene.clients[0].close()
        await asyncio.sleep(10)
        assert scene.socket.up
        await scene.clients[1].send_str("again")
        await asyncio.sleep(1)

    scene = played(act)
    assert [what.split(":")[0] for _, what in scene.events] == [
        "connected",
        "up",
        "down The stream was lost",
        "connected",
        "up",
    ]
    lost, back = scene.times("down")[0], scene.times("connected")[1]
    assert BACKOFF[0] / 2 <= back - lost <= BACKOFF[0] + 0.1
    assert scene.sink.frames == [b"again"]
    assert len(scene.heard) == 6


@pytest.mark.parametrize("fault", ["reset", "cut"])
def test_it_comes_back_after_a_broken_connection(fault: str) -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(30)
        for link in scene.loop.links:
            getattr(link, fault)()
        await asyncio.sleep(10)
        assert scene.socket.up

    scene = played(act)
    assert len(scene.times("connected")) == 2
    assert len(scene.times("down")) == 1


def test_it_notices_a_connection_that_has_gone_silent() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(30)
        scene.loop.links[0].stall()
        await asyncio.sleep(45)
        assert scene.socket.up

    scene = played(act)
    assert len(scene.times("connected")) == 2
    assert scene.times("down")[0] - 30 <= 25


def test_a_connection_lost_while_it_subscribes_is_not_the_end() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(0.1)
        scene.loop.links[0].reset()
        await asyncio.sleep(10)
        assert scene.socket.up

    scene = played(act)
    assert len(scene.times("down")) == 1
    assert [text for _, text in scene.heard][-3:] == ["one", "two", "three"]


def test_waits_grow_while_it_cannot_connect() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(200)

    scene = played(act, up=False)
    waits = np.diff(scene.times("down"))
    longest = np.minimum(BACKOFF[0] * 2.0 ** np.arange(len(waits)), BACKOFF[1]) + 3 * DELAY
    assert len(waits) > 8
    assert (waits <= longest).all()
    assert (waits >= longest / 2 - 3 * DELAY).all()
    assert {what.split(" ")[0] for _, what in scene.events} == {"down"}
    assert "8080" in scene.events[0][1]


def test_after_a_long_connection_it_comes_back_quickly() -> None:
    async def act(scene: Scene) -> None:
        for _ in range(5):
            await asyncio.sleep(60)
            await scene.clients[-1].close()

    scene = played(act)
    for lost, back in zip(scene.times("down"), scene.times("connected")[1:], strict=False):
        assert back - lost <= BACKOFF[0] + 0.1


def test_it_leaves_before_the_exchange_s_day_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 23 * 3600 < LIFETIME < 24 * 3600
    monkeypatch.setattr(socket_module, "LIFETIME", 100)

    async def act(scene: Scene) -> None:
        await asyncio.sleep(110)
        assert scene.socket.up

    scene = played(act)
    assert len(scene.times("connected")) == 2
    assert "24 hours" in scene.events[2][1]
    assert scene.times("down")[0] == pytest.approx(100, abs=1)


def test_a_bug_in_the_sink_is_raised_and_no_further_frame_is_handed_on() -> None:
    class Broken(Sink):
        def __call__(self, buf: U8, ends: I64, frames: int) -> None:
            super().__call__(buf, ends, frames)
            raise ZeroDivisionError

    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)
        for n in range(3):
            await scene.clients[0].send_str(json.dumps(n))
            await asyncio.sleep(1)
        raise AssertionError("it went on")

    broken = Broken()
    with pytest.raises(ZeroDivisionError):
        played(act, sink=broken)
    assert broken.reads == [[b"0"]]


def test_a_cancelled_socket_leaves_its_connection() -> None:
    async def act(scene: Scene) -> None:
        await asyncio.sleep(2)

    scene = played(act)
    assert scene.clients[0].closed
