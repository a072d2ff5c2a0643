"""Soundings: one bare request, and one WebSocket that is listened to until it has shown what it is."""

import asyncio
from collections.abc import Mapping
from typing import Final

import aiohttp
import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from klinehub.errors import DataError
from klinehub.feed.base import Network
from klinehub.feed.binance import stream_name
from klinehub.feed.diagnosis import Verdict
from klinehub.feed.forwarded import Reply
from klinehub.feed.network import PROXY_FAILURES, explain, printable
from klinehub.feed.rest import MAX_BODY
from klinehub.feed.symptoms import CUT, LOG_IN, SWALLOWED, WAIT, Symptom

TIMEFRAME: Final = "1m"
SUBSCRIPTION: Final = 1
_frame = msgspec.json.Decoder(dict[str, object]).decode


async def request(
    session: aiohttp.ClientSession, network: Network, url: str, params: Mapping[str, str | int]
) -> Reply:
    """Send one GET and give what comes back, whatever it is; raises a `FeedError` where nothing does."""
    body = bytearray()
    try:
        async with session.get(url, params=dict(params), allow_redirects=False) as response:
            async for part in response.content.iter_any():
                body += part
                if len(body) > MAX_BODY:
                    raise DataError(f"{url} sent more than {MAX_BODY >> 20} MiB.")
            return Reply(response.status, response.headers, bytes(body))
    except (aiohttp.ClientError, OSError, *PROXY_FAILURES) as error:
        raise explain(error, url, network.via(url)) from error


class Ear(WSListener):
    """Notes what a WebSocket says: the answer to a subscription, the first kline, and how it ended.

    `acknowledged` and `kline` are moments of the loop's clock; `over` is set by the first kline and by all
    that comes instead of one.
    """

    def __init__(self) -> None:
        self.acknowledged: float | None = None
        self.kline: float | None = None
        self.over = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._refusal = ""
        self._strange = ""
        self._closed: str | None = None

    def ask(self, transport: WSTransport, symbol: str) -> None:
        """Subscribe to a symbol's klines."""
        body = {"method": "SUBSCRIBE", "params": [stream_name(symbol, TIMEFRAME)], "id": SUBSCRIPTION}
        transport.send(WSMsgType.TEXT, msgspec.json.encode(body))

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002 - as picows calls it
        """Take a frame; one of a ping or pong says nothing."""
        if frame.msg_type == WSMsgType.TEXT:
            self._hear(frame.get_payload_as_bytes())
        elif frame.msg_type == WSMsgType.CLOSE:
            reason = printable(str(frame.get_close_reason() or ""))
            code = frame.get_close_code()
            self._closed = f" with code {code:d}{f' ({reason})' if reason else ''}"
            self.over.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002 - as picows calls it
        """Note that the connection is gone."""
        self._closed = self._closed or ""
        self.over.set()

    def symptom(self, asked: float, waited: float) -> Symptom:
        """Say what was heard in *waited* seconds after the subscription at *asked*."""
        if self.kline is not None:
            took = f"first kline after {1000 * (self.kline - asked):,.0f} ms"
            return Symptom(Verdict.FINE, took if self.acknowledged is None else f"acknowledged, {took}")
        if self._refusal:
            return Symptom(Verdict.OUTAGE, f"it refused the subscription: {self._refusal}", WAIT)
        if self._strange:
            return Symptom(
                Verdict.FOREIGN, f"it said {self._strange!r}, which is no word of the exchange", LOG_IN
            )
        if self._closed is not None:
            return Symptom(Verdict.OUTAGE, f"it closed the connection{self._closed} before any kline", CUT)
        if self.acknowledged is not None:
            text = f"it acknowledged the subscription and sent no kline in {waited:.0f} s"
            return Symptom(Verdict.SILENT, text, WAIT)
        return Symptom(Verdict.OUTAGE, f"it did not answer the subscription in {waited:.0f} s", SWALLOWED)

    def _hear(self, payload: bytes) -> None:
        try:
            said = _frame(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._end_strangely(payload)
            return
        event = said.get("data", said)
        if isinstance(event, dict) and event.get("e") == "kline":
            self.kline = self.kline or self._loop.time()
            self.over.set()
        elif said.get("error") is not None:
            self._refusal = printable(msgspec.json.encode(said["error"]).decode())
            self.over.set()
        elif said.get("id") == SUBSCRIPTION and "result" in said:
            self.acknowledged = self._loop.time()

    def _end_strangely(self, payload: bytes) -> None:
        self._strange = printable(payload[:60].decode("utf-8", "replace"))
        self.over.set()
