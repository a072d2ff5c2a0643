"""The link: one connection to a NATS server while it lasts, and what is asked of JetStream over it.

1. A link that breaks is over, and says why; whoever used it opens another one and goes on where it was. The
   client's own reconnecting would keep messages of which nobody knows whether they arrived.
2. What the stream keeps is read by an own consumer in the order of the stream. A gap, or a server that says
   nothing for some seconds, ends the link.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from klinehub.errors import DefinitionError, RelayError
from klinehub.feed.network import redact
from klinehub.relay.subjects import Subjects

# Real seconds.
CONNECT_WITHIN: Final = 5.0
ANSWER_WITHIN: Final = 5.0
HEARTBEAT: Final = 2.0
# Messages and bytes that wait here to be read; the server holds more back.
MOST_PENDING: Final = 4_096
MOST_BYTES: Final = 64 * 1024 * 1024
MOST_SAID: Final = 256
# A message told twice within this time is kept once.
DUPLICATES: Final = 120.0
_STATUS: Final = "Status"
_LAST: Final = "Nats-Last-Consumer"
_STALLED: Final = "Nats-Consumer-Stalled"
_ID: Final = "Nats-Msg-Id"


class Kept(NamedTuple):
    """A message of the stream: its place in it, subject, id and body, and how many come after it."""

    sequence: int
    subject: str
    id: str
    data: bytes
    behind: int


class Link:
    """A connection to the server at *url*; see `connected`."""

    def __init__(self, client: Any, url: str, subjects: Subjects) -> None:  # noqa: ANN401 - an extra
        self.subjects = subjects
        self._client = client
        self._url = url
        self._js = client.jetstream(timeout=ANSWER_WITHIN)

    async def prepare(self, most: int) -> None:
        """Have the stream, and in it the newest *most* messages of each subject."""
        from nats.js.api import DiscardPolicy, StorageType, StreamConfig  # noqa: PLC0415 - an extra
        from nats.js.errors import BadRequestError, NotFoundError  # noqa: PLC0415

        config = StreamConfig(
            name=self.subjects.stream,
            subjects=self.subjects.kept,
            max_msgs_per_subject=most,
            discard=DiscardPolicy.OLD,
            storage=StorageType.FILE,
            duplicate_window=DUPLICATES,
            allow_direct=True,
        )
        with self._said():
            # Where two ask for it at once the second is told that there is one.
            with suppress(BadRequestError):
                try:
                    await self._js.stream_info(self.subjects.stream)
                except NotFoundError:
                    await self._js.add_stream(config)
            found = await self._js.stream_info(self.subjects.stream)
            if found.config.max_msgs_per_subject < most or found.config.subjects != self.subjects.kept:
                await self._js.update_stream(config)

    async def last(self) -> int:
        """Give the number of the stream's newest message, 0 for none."""
        with self._said():
            return int((await self._js.stream_info(self.subjects.stream)).state.last_seq)

    async def newest(self, subject: str) -> bytes | None:
        """Give the newest message of a subject that the stream keeps."""
        from nats.js.errors import NotFoundError  # noqa: PLC0415 - an extra

        with self._said():
            try:
                found = await self._js.get_last_msg(self.subjects.stream, subject)
            except NotFoundError:
                return None
        return found.data or b""

    async def keep(self, subject: str, data: bytes, identity: str = "") -> "asyncio.Future[Any]":
        """Have a message kept; the future is done when it is, and fails where it is not."""
        with self._said():
            headers = {_ID: identity} if identity else None
            # Bounded by who calls: nothing waits here for a server that does not answer.
            sent: asyncio.Future[Any] = await self._js.publish_async(
                subject, data, wait_stall=ANSWER_WITHIN, headers=headers
            )
        return sent

    async def acknowledged(self, sent: "list[asyncio.Future[Any]]") -> int:
        """Wait until all that was sent is kept; gives the last number that it has in the stream."""
        with self._said():
            async with asyncio.timeout(ANSWER_WITHIN):
                return max((told.seq for told in await asyncio.gather(*sent)), default=0)

    async def leases(self, seconds: float) -> "Leases":
        """Have the bucket whose entries end where they are not renewed for so many real seconds."""
        from nats.js.api import KeyValueConfig  # noqa: PLC0415 - an extra
        from nats.js.errors import BadRequestError  # noqa: PLC0415

        config = KeyValueConfig(bucket=self.subjects.bucket, ttl=seconds, history=1)
        with self._said():
            try:
                bucket = await self._js.create_key_value(config)
            except BadRequestError:
                # Another one has made it at the same moment.
                bucket = await self._js.key_value(self.subjects.bucket)
        return Leases(bucket, self._where)

    async def say(self, subject: str, data: bytes) -> None:
        """Tell who listens now."""
        with self._said():
            await self._client.publish(subject, data)

    async def listen(self, subject: str) -> AsyncGenerator[bytes, None]:
        """Give what is told from now on and not kept; who is too slow misses some of it."""
        async with self._heard(subject, MOST_SAID) as heard:
            while True:
                yield (await heard.get()).data

    async def read(
        self, subject: str, start: int = 1, *, bodies: bool = True
    ) -> AsyncGenerator[Kept | None, None]:
        """Give what the stream keeps of a subject from number *start* on, and then what comes.

        None says that nothing more is kept. Without *bodies* only ids are told.
        """
        inbox = self._client.new_inbox()
        async with self._heard(inbox, MOST_PENDING) as heard:
            if not await self._consumer(inbox, subject, start, bodies=bodies):
                yield None
            count = 0
            while True:
                with self._said():
                    async with asyncio.timeout(3 * HEARTBEAT):
                        message = await heard.get()
                headers = message.headers or {}
                if _STATUS in headers:
                    await self._answer(message, headers, count)
                    continue
                count += 1
                kept = _kept(message, headers, count)
                yield kept
                if not kept.behind:
                    yield None

    async def _consumer(self, inbox: str, subject: str, start: int, *, bodies: bool) -> int:
        """Have the stream sent to *inbox*; gives how many messages are to come."""
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy  # noqa: PLC0415 - an extra

        config = ConsumerConfig(
            deliver_subject=inbox,
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=max(1, start),
            filter_subject=subject,
            ack_policy=AckPolicy.NONE,
            idle_heartbeat=HEARTBEAT,
            flow_control=True,
            headers_only=not bodies,
            mem_storage=True,
            max_deliver=1,
        )
        with self._said():
            return int((await self._js.add_consumer(self.subjects.stream, config)).num_pending or 0)

    @asynccontextmanager
    async def _heard(self, subject: str, most: int) -> "AsyncIterator[asyncio.Queue[Any]]":
        """Listen to a subject while the block runs; a link that breaks ends it."""
        heard: asyncio.Queue[Any] = asyncio.Queue(most)
        with self._said():
            listening = await self._client.subscribe(
                subject, cb=heard.put, pending_msgs_limit=most, pending_bytes_limit=MOST_BYTES
            )
        try:
            yield heard
        finally:
            with suppress(Exception):
                await listening.unsubscribe()

    async def _answer(self, message: Any, headers: dict[str, str], count: int) -> None:  # noqa: ANN401
        """Answer a heartbeat or a question whether there is room; what was told by then has to be here."""
        told = int(headers.get(_LAST, count))
        if told > count:
            raise RelayError(f"{told - count} messages of {self._where} were lost on the way: read anew.")
        with self._said():
            if message.reply:
                await self._client.publish(message.reply)
            elif _STALLED in headers:
                await self._client.publish(headers[_STALLED])

    @property
    def _where(self) -> str:
        return redact(self._url)

    def _said(self) -> "_Said":
        return _Said(self._where)


class Leases:
    """Entries of a bucket, each gone when it was not renewed in time."""

    def __init__(self, bucket: Any, where: str) -> None:  # noqa: ANN401 - an extra
        self._bucket = bucket
        self._where = where

    async def put(self, name: str, data: bytes) -> None:
        """Renew an entry."""
        with _Said(self._where):
            await self._bucket.put(name, data)

    async def all(self) -> list[bytes]:
        """Give all entries."""
        from nats.js.errors import KeyNotFoundError, NoKeysError  # noqa: PLC0415 - an extra

        found = []
        with _Said(self._where):
            try:
                names = await self._bucket.keys()
            except NoKeysError:
                names = []
            for name in names:
                # One may end between the two.
                with suppress(KeyNotFoundError):
                    found.append((await self._bucket.get(name)).value or b"")
        return found


class _Said:
    """Turns the client's errors into those of this house."""

    def __init__(self, where: str) -> None:
        self._where = where

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        """Say what failed."""
        if isinstance(exc, Exception) and not isinstance(exc, RelayError | StopAsyncIteration):
            found = _fault(self._where, exc)
            if found is not None:
                raise found from exc


def _fault(where: str, exc: Exception) -> RelayError | None:
    """Say in words what the client ran into; None for a bug."""
    from nats.js.errors import APIError, NoStreamResponseError, ServiceUnavailableError  # noqa: PLC0415

    from nats import errors  # noqa: PLC0415 - an extra

    text = str(exc).strip() or type(exc).__name__
    if "authorization" in text.lower() or isinstance(exc, errors.AuthorizationError):
        return RelayError(f"{where} refuses these credentials: write them as nats://user:password@host:4222.")
    if isinstance(exc, ServiceUnavailableError | errors.NoRespondersError | NoStreamResponseError):
        return RelayError(f"{where} keeps no messages: start nats-server with JetStream (-js).")
    if isinstance(exc, APIError):
        return RelayError(f"JetStream at {where} refuses: {exc.description or text}.")
    if isinstance(exc, TimeoutError):
        return RelayError(f"{where} does not answer.")
    if isinstance(exc, OSError):
        return RelayError(f"Nothing answers at {where} ({exc.strerror or text}): start nats-server there.")
    return RelayError(f"{where}: {text}.") if isinstance(exc, errors.Error) else None


def _kept(message: Any, headers: dict[str, str], count: int) -> Kept:  # noqa: ANN401 - an extra
    """Read a message's place, and see that none is missing before it."""
    place = message.metadata
    if place.sequence.consumer != count:
        raise RelayError(f"{place.sequence.consumer - count} messages were lost on the way: read anew.")
    return Kept(place.sequence.stream, message.subject, headers.get(_ID, ""), message.data, place.num_pending)


@asynccontextmanager
async def connected(url: str, subjects: Subjects, name: str) -> AsyncIterator[Link]:
    """Connect while the block runs; raises RelayError when there is no connection, or when it breaks."""
    try:
        from nats.aio.client import Client  # noqa: PLC0415 - an extra
        from nats.errors import NoServersError  # noqa: PLC0415
    except ImportError as exc:
        raise DefinitionError("A relay needs a client for NATS: pip install 'klinehub[nats]'.") from exc
    client, broken = Client(), asyncio.Event()
    met: list[Exception] = []

    async def on_close() -> None:
        broken.set()

    async def on_error(exc: Exception) -> None:
        met[:] = [exc]
        if "permissions violation" in str(exc).lower():
            # Who asks would wait for an answer that never comes.
            broken.set()

    bare, who = _apart(url)
    try:
        with _Said(redact(url)):
            try:
                await client.connect(
                    bare,
                    **who,
                    name=f"klinehub {name}",
                    # Without the client's own reconnecting one that refuses would still be tried sixty times.
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=CONNECT_WITHIN,  # type: ignore[arg-type] # takes parts of seconds
                    disconnected_cb=on_close,
                    closed_cb=on_close,
                    error_cb=on_error,
                    ping_interval=5,
                )
            except NoServersError as exc:
                raise (met or [exc])[0] from exc
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_broken(broken, redact(url), met))
            yield Link(client, url, subjects)
            watch.cancel()
    except BaseExceptionGroup as several:
        faults, bugs = several.split(RelayError)
        if faults is None or bugs is not None:
            raise
        raise _first(faults) from None
    finally:
        with suppress(Exception):
            async with asyncio.timeout(1.0):
                await client.close()
        # A server that stands still takes no leave, and the client keeps its socket then.
        transport = getattr(client, "_transport", None)
        if transport is not None:
            transport.close()


def _first(several: BaseExceptionGroup[RelayError]) -> RelayError:
    """Give the first of the errors in a group of groups."""
    one = several.exceptions[0]
    return _first(one) if isinstance(one, BaseExceptionGroup) else one


def _apart(url: str) -> tuple[str, dict[str, Any]]:
    """Part an address from the name and the password in it; a name alone is a token."""
    try:
        parts = urlsplit(url)
        where = f"{parts.scheme}://{parts.hostname}:{parts.port or 4222}"
    except ValueError:
        parts, where = urlsplit(""), ""
    if parts.scheme not in {"nats", "tls"} or not parts.hostname:
        raise DefinitionError(f"{redact(url)!r} is no address of NATS: write it like nats://host:4222.")
    if parts.username is None:
        return where, {}
    if parts.password is None:
        return where, {"token": unquote(parts.username)}
    return where, {"user": unquote(parts.username), "password": unquote(parts.password)}


async def _broken(event: asyncio.Event, where: str, met: Sequence[Exception]) -> None:
    await event.wait()
    for exc in met:
        if "permissions violation" in str(exc).lower():
            raise RelayError(f"{where} does not let this user do what is needed: {exc}.")
    raise RelayError(f"The connection to {where} broke.")
