"""The other end of `ingest`: a process that sends frames rendered beforehand as fast as they are taken.

1. It listens, greets the WebSocket clients that it was told of, and acknowledges their subscriptions.
2. It obeys lines on stdin: `saturate`, `each` (one write a frame) or `pace N` (N frames a second, every
   millisecond a burst), and answers `sent` on stdout; it ends with stdin.
"""

import base64
import hashlib
import socket
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import msgspec
import numpy as np
import numpy.typing as npt

WEBSOCKET: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CHUNK: Final = 1 << 16
# Set in the first byte of a ping, which some send before they ask for anything.
CONTROL: Final = 0x08
BURST_SECONDS: Final = 0.001
PATIENCE: Final = 20.0


class Lane(msgspec.Struct, frozen=True):
    """One client: its number, its file of ready frames, and how many messages it subscribes with."""

    number: int
    file: str
    subscriptions: int


class Orders(msgspec.Struct, frozen=True):
    """What to send and to whom; a client is known by one of the streams that it asks for.

    `order` is a file of [frames, 2] int64: the number of each frame's client and where it ends in its file.
    """

    lanes: dict[str, Lane]
    order: str
    certificate: str | None


class Peer(NamedTuple):
    """One client and its frames."""

    connection: socket.socket
    frames: memoryview
    ends: npt.NDArray[np.int64]


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise SystemExit(1)
        data += piece
    return data


def greet(connection: socket.socket) -> list[str]:
    """Answer a WebSocket handshake, and give the streams that are named in its address."""
    request = b""
    while not request.endswith(b"\r\n\r\n"):
        request += _read(connection, 1)
    lines = (line.partition(b":") for line in request.split(b"\r\n"))
    key = next(value.strip() for name, _, value in lines if name.strip().lower() == b"sec-websocket-key")
    accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET, usedforsecurity=False).digest())
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    asked = parse_qs(urlsplit(request.split(b" ", 2)[1].decode()).query)
    return [name for text in asked.get("streams", []) for name in text.split("/")]


def _message(connection: socket.socket) -> tuple[int, bytes]:
    """Read one frame of a client: its kind, and its content."""
    kind, size = _read(connection, 2)
    size &= 127
    if size >= 126:
        size = int.from_bytes(_read(connection, 2 if size == 126 else 8), "big")
    mask, body = _read(connection, 4), _read(connection, size)
    return kind, bytes(byte ^ mask[at % 4] for at, byte in enumerate(body))


def acknowledge(connection: socket.socket) -> list[str]:
    """Read one SUBSCRIBE, answer as the exchange does, and give the streams it names."""
    kind, plain = _message(connection)
    while kind & CONTROL:
        kind, plain = _message(connection)
    asked = msgspec.json.decode(plain)
    answer = b'{"result":null,"id":%d}' % asked["id"]
    connection.sendall(bytes((0x81, len(answer))) + answer)
    return [str(name) for name in asked["params"]]


def welcome(listener: socket.socket, orders: Orders, context: ssl.SSLContext | None) -> list[Peer]:
    """Take in all clients, several at a time; gives them by number."""
    order = np.load(orders.order)

    def enter(_: int) -> tuple[int, Peer]:
        connection, _address = listener.accept()
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            connection = context.wrap_socket(connection, server_side=True)
        asked, subscriptions = greet(connection), 0
        while not (mine := orders.lanes.keys() & asked):
            asked, subscriptions = acknowledge(connection), subscriptions + 1
        lane = orders.lanes[mine.pop()]
        for _more in range(lane.subscriptions - subscriptions):
            acknowledge(connection)
        ends = order[order[:, 0] == lane.number, 1]
        return lane.number, Peer(connection, memoryview(Path(lane.file).read_bytes()), ends)

    with ThreadPoolExecutor(len(orders.lanes)) as pool:
        found = dict(pool.map(enter, range(len(orders.lanes))))
    return [found[number] for number in sorted(found)]


def saturate(peers: list[Peer], *, each: bool) -> None:
    """Send everything at once, each client from a thread; with *each* one write a frame."""

    def send(peer: Peer) -> None:
        cuts = [0, *peer.ends.tolist()] if each else [*range(0, len(peer.frames), CHUNK), len(peer.frames)]
        for start, end in pairwise(cuts):
            peer.connection.sendall(peer.frames[start:end])

    threads = [threading.Thread(target=send, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def pace(peers: list[Peer], order: npt.NDArray[np.int64], rate: float) -> None:
    """Send *rate* frames a second, those of a millisecond together, each client its own."""
    sent = [0] * len(peers)
    started, done = time.monotonic(), 0
    while done < len(order):
        until = min(len(order), int((time.monotonic() - started) * rate))
        ends = dict(order[done:until].tolist())
        for number, end in ends.items():
            peers[number].connection.sendall(peers[number].frames[sent[number] : end])
            sent[number] = end
        done = max(done, until)
        time.sleep(BURST_SECONDS)


def main() -> None:
    """Obey orders until stdin ends."""
    orders = msgspec.json.decode(sys.stdin.readline(), type=Orders)
    context = None
    if orders.certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(orders.certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(PATIENCE)
    _say(str(listener.getsockname()[1]))
    peers = welcome(listener, orders, context)
    _say("ready")
    for line in sys.stdin:
        what, *numbers = line.split()
        if what == "pace":
            pace(peers, np.load(orders.order), float(numbers[0]))
        else:
            saturate(peers, each=what == "each")
        _say("sent")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
