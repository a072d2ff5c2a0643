"""The clients of `fanout`: a thousand plain sockets in a process of their own, some of which stop reading.

It is told on stdin where to connect and what to follow, answers `connected`, and reads until stdin ends. Then
it tells when each close came and how much each client got.
"""

import base64
import os
import select
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

READ: Final = 1 << 18
PATIENCE: Final = 30.0
LOOK_EVERY: Final = 0.25
_CLOSED: Final = b'"x":true'
_OPENED: Final = b'"k":{"t":'


class Crowd(msgspec.Struct, frozen=True):
    """Where to connect, the path of each client, how many of them stop reading, and where to write what."""

    host: str
    port: int
    paths: tuple[str, ...]
    stalled: int
    file: str


class Client:
    """One client: what it has not made a frame of yet, and what it got."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.rest = b""
        self.frames = 0
        self.ended = False

    def take(self, now: float, closes: list[tuple[int, float]]) -> None:
        """Read what is there and note the closes in it: open time of the bar and when it came."""
        data = self.line.recv(READ)
        self.ended = not data
        data, at = self.rest + data, 0
        while len(data) - at >= 4:
            size, head = data[at + 1], 2
            if size == 126:
                size, head = int.from_bytes(data[at + 2 : at + 4], "big"), 4
            if len(data) - at < head + size:
                break
            start, at = at + head, at + head + size
            self.frames += data[start - head] == 0x81
            if data.find(_CLOSED, start, at) >= 0:
                opened = data.index(_OPENED, start, at) + len(_OPENED)
                closes.append((int(data[opened : data.index(b",", opened)]), now))
        self.rest = data[at:]


def connect(crowd: Crowd) -> list[Client]:
    """Open all connections at once, as after a restart of the hub."""
    lines = []
    for _ in crowd.paths:
        line = socket.socket()
        line.settimeout(0.0)
        line.connect_ex((crowd.host, crowd.port))
        lines.append(line)
    for line, path in zip(lines, crowd.paths, strict=True):
        line.settimeout(PATIENCE)
        key = base64.b64encode(os.urandom(16)).decode()
        request = f"GET {path} HTTP/1.1\r\nHost: {crowd.host}:{crowd.port}\r\nUpgrade: websocket\r\n"
        request += f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        select.select([], [line], [], PATIENCE)
        line.sendall(request.encode())
    clients = [Client(line) for line in lines]
    for one in clients:
        while b"\r\n\r\n" not in one.rest:
            one.rest += one.line.recv(READ)
        head, _, one.rest = one.rest.partition(b"\r\n\r\n")
        if b" 101 " not in head:
            raise SystemExit(f"A client was turned away: {head!r}")
    return clients


def watch(clients: Sequence[Client]) -> list[tuple[int, float]]:
    """Read what comes until stdin ends; gives the closes."""
    poll, by_number = select.epoll(), {one.line.fileno(): one for one in clients}
    closes: list[tuple[int, float]] = []
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    while True:
        ready = poll.poll(LOOK_EVERY)
        now = time.monotonic()
        for number, _ in ready:
            if number == 0:
                return closes
            by_number[number].take(now, closes)
            if by_number[number].ended:
                poll.unregister(number)


def main() -> None:
    """Be the crowd that stdin tells of."""
    crowd = msgspec.json.decode(sys.stdin.readline(), type=Crowd)
    begun = time.monotonic()
    clients = connect(crowd)
    _say(f"connected {time.monotonic() - begun:.3f}")
    healthy = clients[crowd.stalled :]
    closes = watch(healthy)
    found = np.array(closes, np.float64).reshape(-1, 2)
    np.savez(
        Path(crowd.file),
        closes=found,
        frames=np.array([one.frames for one in healthy]),
        ended=np.array([one.ended for one in healthy]),
    )
    _say("over")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
