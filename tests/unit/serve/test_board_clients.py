"""A client of the board: what waits for it, in which order it is told, and when it is given up."""

import asyncio
from typing import Any

import msgspec

from klinehub.dialect.wire import frame
from klinehub.serve.board.clients import BEHIND, MOST_ALERTS, PATIENCE, TOO_SLOW, Client
from klinehub.sim.loop import SimLoop, run


class Line(asyncio.Transport):
    """A transport that keeps what is written, with as much of it unsent as a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.unsent = 0
        self.aborted = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True


class Socket:
    """A connection that can be closed."""

    def __init__(self) -> None:
        self.code = 0

    async def close(self, *, code: int, message: bytes) -> None:
        self.code = code


class Told:
    """Prices of which so many rounds have passed."""

    def __init__(self) -> None:
        self.round = 0
        self.asked: list[int] = []

    def since(self, seen: int) -> bytes:
        self.asked.append(seen)
        return b'"prices to %d"' % self.round


def made() -> tuple[Client, Line, Socket, list[str]]:
    line, socket, cuts = Line(), Socket(), list[str]()
    client = Client(socket, line, 48, lambda: cuts.append("cut"))  # type: ignore[arg-type]
    return client, line, socket, cuts


def sent(*messages: str) -> list[bytes]:
    return [frame(msgspec.json.encode(message)) for message in messages]


def test_of_each_kind_the_newest_is_told_rows_first_and_prices_last() -> None:
    async def main(loop: SimLoop) -> None:
        client, line, _socket, _ = made()
        prices = Told()
        prices.round = 1
        client.follow(prices)  # type: ignore[arg-type]
        for number in (1, 2):
            for kind in ("health", "table", "symbols"):
                client.tell(kind, f'"{kind} {number}"'.encode())
        for number in range(MOST_ALERTS + 1):
            client.tell_alert(f'"alert {number}"'.encode())
        sending = asyncio.create_task(client.send())
        await asyncio.sleep(1)

        alerts = [f"alert {number}" for number in range(1, MOST_ALERTS + 1)]
        assert line.written == sent("symbols 2", "table 2", "health 2", *alerts, "prices to 1")
        client.wake()
        await asyncio.sleep(1)
        assert len(line.written) == 4 + MOST_ALERTS
        sending.cancel()

    run(main)


def test_what_is_told_is_chosen_when_there_is_room_for_it() -> None:
    async def main(loop: SimLoop) -> None:
        client, line, _socket, _ = made()
        prices = Told()
        client.follow(prices)  # type: ignore[arg-type]
        sending = asyncio.create_task(client.send())
        line.unsent = BEHIND + 1
        for number in range(10):
            prices.round += 1
            client.tell("table", f'"table {number}"'.encode())
            client.wake()
            await asyncio.sleep(1)
        assert line.written == []
        line.unsent = 0
        await asyncio.sleep(1)

        assert line.written == sent("table 9", "prices to 10")
        assert prices.asked == [0]
        sending.cancel()

    run(main)


def test_who_takes_nothing_for_a_while_is_cut_and_who_takes_little_is_not() -> None:
    async def main(loop: SimLoop) -> None:
        client, line, socket, cuts = made()
        sending = asyncio.create_task(client.send())
        line.unsent = BEHIND + 1_000
        client.tell("table", b'"table"')
        for _ in range(10):
            await asyncio.sleep(PATIENCE - 1)
            line.unsent -= 1
        assert not sending.done()
        await asyncio.sleep(PATIENCE + 1)

        assert sending.done()
        assert (cuts, socket.code, line.aborted, line.written) == (["cut"], TOO_SLOW, True, [])

    run(main)
