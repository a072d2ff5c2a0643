"""Messengers: alerts sent by any service that apprise knows, each attempt with an outcome that can be told.

1. An address is one receiver: where it reaches several, one that fails would have the others told again.
2. An attempt runs in a thread of the target's own, over a line that keeps what was answered. Some services
   say 200 and mean no; then their own code counts.
3. A thread that is not done in time is waited for before anything else is sent there: what it sends after
   all is not sent again.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import msgspec

from klinehub.alerts.message import Style, Written, tried, written
from klinehub.alerts.outbox import Kept, Message
from klinehub.alerts.posting import Answer, Ended, Patience
from klinehub.errors import DefinitionError
from klinehub.feed.network import printable, redact
from klinehub.scan.alerts import Alert
from klinehub.scan.plain import Hand
from klinehub.settings import TargetSettings

if TYPE_CHECKING:
    from apprise import Apprise, NotifyBase

    from klinehub.alerts.line import Heard, Route

EXTRA: Final = "Messages need apprise: pip install 'klinehub[alerts]', then start again."
# Real seconds: to connect, for an answer, and for an attempt, which may be of several requests.
CONNECT: Final = 10.0
READ: Final = 20.0
LIMIT: Final = 60.0
# Those of apprise.
_USUAL: Final = 4.0
PATIENCE: Final = Patience(first=2.0, longest=60.0, tries=None, refusals=3)
# Alerts that one digest is made of, and that wait for it.
MOST: Final = 5_000
_AGAIN: Final = frozenset({408, 425, 429})
# Services that answer 200 and say by a code of their own whether they took it, and the codes that pass by.
_CODES: Final[dict[str, tuple[str, frozenset[int]]]] = {
    "dingtalk": ("errcode", frozenset({-1, 130101, 130102, 410100})),
    "wecombot": ("errcode", frozenset({-1, 45009, 45033})),
    "feishu": ("code", frozenset({9499, 11232})),
    "lark": ("code", frozenset({9499, 11232})),
}
_WORDS: Final = ("description", "message", "errmsg", "msg")
# Of these the length of the address is no count of receivers.
_MENTIONS: Final = frozenset({"dingtalk"})
_SHORTEST_PIECE: Final = 4


class Messenger:
    """The target *name* of `[targets.NAME]`; *route* gives the proxy that an address is reached by.

    *trusted* is a file of certificates to trust instead of the usual ones.
    """

    kind = "messenger"
    patience = PATIENCE
    most = waiting = MOST

    def __init__(
        self, name: str, settings: TargetSettings, style: Style, route: "Route", *, trusted: str | None = None
    ) -> None:
        self.name = name
        self.where = ""
        self.failure = ""
        self.digest = settings.digest
        self.lang: str = settings.lang
        self._style, self._trusted = style, trusted
        self._route: Route = (lambda _: None) if settings.direct else route
        self._settings, self._secrets = settings, _pieces(settings.url)
        self._hand = Hand("klinehub-messenger")
        self._making: asyncio.Future[None] | None = None
        self._late: tuple[str, asyncio.Future[Answer]] | None = None

    async def begin(self) -> None:
        """Get ready, in a thread: apprise takes about a second to load the first time."""
        if self._making is None:
            self._making = asyncio.get_running_loop().run_in_executor(self._hand, self._make)
        await asyncio.shield(self._making)

    def _make(self) -> None:
        try:
            self._sender, self._plugin = self._made(self._settings)
        except ImportError:
            self.failure = EXTRA
        except DefinitionError as exc:
            self.failure = str(exc)

    def wants(self, alert: Alert) -> bool:  # noqa: ARG002 - all that is said by way of `Post`
        """Whether an alert goes this way: all do that are addressed to it."""
        return True

    async def send(self, message: Message, *, quiet: bool) -> Answer:
        """Send a message once; never raises, and never takes much longer than LIMIT."""
        await self.begin()
        if self.failure:
            return Answer(Ended.REFUSED, self.failure)
        if self._late is not None:
            before, late = self._late
            if not await _done(late):
                return Answer(Ended.LATER, f"an attempt is not over after {LIMIT:.0f} s and more")
            self._late = None
            # What was thought lost may have arrived: then it is not sent again.
            if before == message.id and late.result().ended is Ended.TAKEN:
                return late.result()
        answer = self._begun(written(message, self._style, self._room, quiet=quiet))
        self._late = (message.id, answer)
        if not await _done(answer):
            return Answer(Ended.LATER, f"no answer within {LIMIT:.0f} s")
        self._late = None
        return answer.result()

    async def test(self, kept: Kept) -> Answer:
        """Send an alert as a test."""
        await self.begin()
        if self.failure:
            return Answer(Ended.REFUSED, self.failure)
        if self._late is not None:
            return Answer(Ended.LATER, "it is at another message")
        return await self._begun(tried(kept, self._style, self._room))

    def _begun(self, text: Written) -> "asyncio.Future[Answer]":
        return asyncio.get_running_loop().run_in_executor(self._hand, self._attempt, text)

    def _attempt(self, text: Written) -> Answer:
        """Send in this thread, and say how that ended."""
        from apprise import NotifyFormat  # noqa: PLC0415 - an extra

        from klinehub.alerts.line import Line, over  # noqa: PLC0415 - needs the extra

        line = Line(self._route, self._trusted)
        try:
            with over(line):
                title, body = self._parts(text)
                taken = bool(self._sender.notify(body, title, body_format=NotifyFormat.TEXT))
        except Exception as exc:  # noqa: BLE001 - a plugin's own bug is the failure of this attempt
            return self._refused(f"apprise failed ({type(exc).__name__})")
        return self._judged(line.heard, taken=taken)

    def _parts(self, text: Written) -> Written:
        """Put the title before the text where the service knows no titles."""
        if self._plugin.title_maxlen > 0:
            return text
        return Written("", f"{text.title}\n{text.body}")

    def _judged(self, heard: Sequence["Heard"], *, taken: bool) -> Answer:
        """Say how an attempt ended by what was answered last, where that is known."""
        if not heard:
            return (
                Answer(Ended.TAKEN) if taken else self._refused("it was not taken, and no reason was given")
            )
        last = heard[-1]
        if last.error is not None:
            return Answer(Ended.LATER, self._unheard(last))
        said = _said(last.body)
        key, passing = _CODES.get(_service(self._plugin), ("", frozenset[int]()))
        code = said.get(key, 0)
        words = self._words(said)
        if taken and not (isinstance(code, int) and code):
            return Answer(Ended.TAKEN)
        told = f"code {code}" if taken else f"status {last.status}"
        later = code in passing if taken else last.status in _AGAIN or last.status >= 500
        if later:
            return Answer(Ended.LATER, f"{self.where} answered with {told}{words}", _pause(last, said))
        return self._refused(f"{self.where} refused it with {told}{words}")

    def _refused(self, why: str) -> Answer:
        way_out = f"check the `url` of targets.{self.name}, then try `klinehub alerts test {self.name}`"
        return Answer(Ended.REFUSED, f"{why}: {way_out}")

    def _unheard(self, heard: "Heard") -> str:
        """Say why there was no answer; what such an error says may hold the address, so that is not told."""
        kind = type(heard.error).__name__
        if heard.via is None:
            return f"no answer from {self.where} ({kind})"
        hint = ": check network.proxy" if kind == "ProxyError" else ""
        return f"no answer from {self.where} through the proxy {redact(heard.via)} ({kind}){hint}"

    def _words(self, said: dict[str, Any]) -> str:
        """Give a messenger's own words for a refusal, without what it may repeat of the address."""
        found = next((said[key] for key in _WORDS if isinstance(said.get(key), str) and said[key]), "")
        for secret in self._secrets:
            found = found.replace(secret, "***")
        return f" ({printable(found)[:120]})" if found else ""

    @property
    def _room(self) -> int:
        """The bytes that a message may have, the title among them."""
        return max(int(self._plugin.body_maxlen), 1) if not self.failure else 0

    def _made(self, settings: TargetSettings) -> "tuple[Apprise, NotifyBase]":
        """Make the plugin that knows the address, and who sends by it alone.

        Raises ImportError or DefinitionError.
        """
        from apprise import Apprise, AppriseAsset  # noqa: PLC0415 - an extra

        from klinehub.alerts.line import Line, led, over, silence  # noqa: PLC0415 - needs the extra

        silence()
        # The time limit is ours: apprise's own would have the attempt made in yet another thread.
        asset = AppriseAsset(
            app_id="klinehub", app_desc="klinehub", app_url="", http_redirects=False, service_timeout=0
        )
        asset.image_url_mask = asset.image_url_logo = ""
        asset.image_path_mask = ""
        with over(Line(self._route)):
            plugin = Apprise.instantiate(settings.url, asset=asset)
        if plugin is None:
            raise DefinitionError(
                f"The `url` of targets.{self.name} is no address that apprise knows: write it like "
                "tgram://TOKEN/CHAT (docs/alerts.md has more)."
            )
        if _service(plugin) == "dingtalk":
            _sign_once(plugin)
        self.where = str(plugin.service_name)
        self._checked(plugin, proxied=led(type(plugin).__module__))
        sender = Apprise(asset=asset)
        sender.add(plugin)
        return sender, plugin

    def _checked(self, plugin: "NotifyBase", *, proxied: bool) -> None:
        """Have a plugin wait long enough and try once; raises DefinitionError for what can not be."""
        plugin.retry, plugin.optional = 0, False
        # Where even a link has no room, its beginning is better than a refusal or several messages.
        plugin.overflow_mode = type(plugin.overflow_mode)("truncate")
        # Where the address says nothing else, an answer that takes its time is not taken for none.
        if plugin.socket_connect_timeout == _USUAL:
            plugin.socket_connect_timeout = CONNECT
        if plugin.socket_read_timeout == _USUAL:
            plugin.socket_read_timeout = READ
        if len(plugin) > 1 and _service(plugin) not in _MENTIONS:
            raise DefinitionError(
                f"The `url` of targets.{self.name} reaches {len(plugin)} receivers: make a target of each, "
                "so that one that fails does not have the others told again."
            )
        if not proxied and self._route("https://example.com/") is not None:
            raise DefinitionError(
                f"{self.where} is not reached by HTTP, so not through network.proxy: set `direct = true` in "
                f"targets.{self.name} if it may be reached without."
            )


async def _done(answer: "asyncio.Future[Answer]") -> bool:
    """Wait for an attempt as long as one may take; False where it is not over then."""
    await asyncio.wait([answer], timeout=LIMIT)
    return answer.done()


def _sign_once(plugin: Any) -> None:  # noqa: ANN401 - apprise types no plugin
    """Give the signature as it is: it is escaped when it becomes part of the address, and was before too."""
    signed = plugin.get_signature

    def unescaped() -> tuple[str, str]:
        timestamp, signature = signed()
        return timestamp, unquote(signature)

    plugin.get_signature = unescaped


def _service(plugin: "NotifyBase") -> str:
    return type(plugin).__module__.split(".")[2]


def _said(body: bytes) -> dict[str, Any]:
    """Read the answer of a messenger; nothing where it is no JSON object."""
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}


def _pause(heard: "Heard", said: dict[str, Any]) -> float:
    """Give how long a messenger wants to be left alone: as its header or its own words have it."""
    inner = said.get("parameters")
    told = said.get("retry_after", inner.get("retry_after") if isinstance(inner, dict) else None)
    return max(heard.pause, float(told) if isinstance(told, int | float) else 0.0)


def _pieces(url: str) -> tuple[str, ...]:
    """Give the parts of an address that may be secrets, the longest first."""
    rest = unquote(url.partition("://")[2]) + " " + url.partition("://")[2]
    found = {piece for piece in re.split(r"[^A-Za-z0-9]+", rest) if len(piece) >= _SHORTEST_PIECE}
    return tuple(sorted(found, key=len, reverse=True))
