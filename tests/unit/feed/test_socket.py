"""The sockets: frames of a read handed on together, and what is seen in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klinehub.feed.dialogue import Dialogue, Wishes
from klinehub.feed.socket import BUFFER_BYTES, BUFFER_FRAMES, HEAD, STREAM, Intake, Line
from klinehub.panel.memory import I64, U8
from klinehub.sim.loop import SimLoop, run


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


def test_names_of_streams_are_found_in_both_forms_of_a_frame() -> None:
    combined = (
        b'{"stream":"btcusdt@kline_1m","data":{"e":"kline","s":"BTCUSDT","k":{"s":"BTCUSDT","i":"1m"}}}'
    )
    raw = b'{"e":"kline","E":1,"s":"BTCUSDT","k":{"t":0,"T":59999,"s":"BTCUSDT","i":"1M","o":"1"}}'
    event = b'{"stream":"!contractInfo","data":{"e":"contractInfo","s":"BTCUSDT"}}'
    for frame, groups in (
        (combined, (b"btcusdt@kline_1m", None, None)),
        (raw, (None, b"BTCUSDT", b"1M")),
    ):
        found = STREAM.search(frame[:HEAD])
        assert found is not None
        assert found.groups() == groups
    assert STREAM.search(event[:HEAD]) is None


def test_a_connection_made_after_it_was_given_up_is_ended() -> None:
    ended: list[bool] = []

    class Transport:
        def disconnect(self, *, graceful: bool) -> None:
            ended.append(graceful)

    async def main(loop: SimLoop) -> Line:
        line = Line("ws://x", Dialogue(Wishes(["a@kline_1m"])), Intake(Sink()), lambda: ended.append(True))
        line.drop("it took too long")
        line.on_ws_connected(Transport())  # type: ignore[arg-type]
        line.tell()
        return line

    line = run(main)
    assert (line.over, line.up, line.reason) == (True, False, "it took too long")
    assert ended == [False]
