"""The rulebook: the rules of the file and of the board, what is shown of them, and how they change."""

import asyncio
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from klinehub.alerts.deciding import Deciding
from klinehub.alerts.log import Log
from klinehub.alerts.rule import MOST_NAME, Origin, Rule, RuleText
from klinehub.errors import DefinitionError, KlinehubError, UnknownName

MOST_RULES: Final = 10_000
# Makes a rule of its text, and raises DefinitionError for one that can not be judged here.
Make = Callable[[str, RuleText, Origin], Rule]


class NamedRule(RuleText, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule as the board sends it: its text with its name; one that has the name already is replaced."""

    name: Annotated[str, Meta(min_length=1, max_length=MOST_NAME, description="what alerts call it")]


class RuleRow(msgspec.Struct, frozen=True, kw_only=True):
    """A rule as it is shown: `origin` is "file" or "board", `failure` says why it is not judged.

    `armed` is how many symbols may fire, `fired` how many alerts of it the log holds. Who changes what stands
    in the file changes the file.
    """

    name: str
    where: str
    screen: str
    timeframe: str
    symbols: tuple[str, ...]
    clear: str
    cooldown: int
    forming: bool
    min_score: float
    side: str
    to: tuple[str, ...]
    enabled: bool
    origin: str
    failure: str
    armed: int
    fired: int


class Rulebook:
    """Holds the rules *of_file* and those of the board, which *log* keeps, and has *deciding* judge them."""

    def __init__(self, of_file: Mapping[str, RuleText], make: Make, log: Log, deciding: Deciding) -> None:
        self._texts: dict[str, tuple[RuleText, Origin]] = {
            name: (text, "file") for name, text in of_file.items()
        }
        self._rules: dict[str, Rule] = {}
        self._failures: dict[str, str] = {}
        self._make, self._log, self._deciding = make, log, deciding
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        """Take the board's rules from the log, and have all be judged from where they stood.

        A rule that can not be judged any more is shown as such; raises StoreError where the log can not be
        read.
        """
        async with self._turn:
            for name, body in (await self._log.do(lambda outbox: outbox.rules())).items():
                self._take(name, body)
            for name in self._texts:
                self._enter(name)
            await self._deciding.begin(tuple(self._rules.values()))

    def _take(self, name: str, body: str) -> None:
        """Take in what was kept of a rule of the board."""
        try:
            text = msgspec.json.decode(body, type=RuleText)
        except msgspec.DecodeError as exc:
            text = RuleText(enabled=False)
            self._failures[name] = f"What was kept of it can not be read ({exc}): delete it."
        if self._texts.setdefault(name, (text, "board"))[1] == "file":
            told = f"The rule {name!r} of klinehub.toml counts, and that of the board of this name does not."
            warnings.warn(told, stacklevel=2)

    def _enter(self, name: str) -> None:
        text, origin = self._texts[name]
        try:
            self._rules[name] = self._make(name, text, origin)
        except DefinitionError as exc:
            self._failures.setdefault(name, str(exc))

    def named(self, name: str) -> Rule:
        """Give a rule that can be judged; raises UnknownName, and DefinitionError for one that can not be."""
        if name in self._rules:
            return self._rules[name]
        if name in self._texts:
            raise DefinitionError(f"{name} is not judged: {self._failures[name]}")
        raise UnknownName("rule", name, self._texts)

    async def rows(self) -> list[RuleRow]:
        """Give what is shown of each rule, in the order of the file and then by name."""
        fired = await self._log.do(lambda outbox: outbox.fired())
        armed, failures = self._deciding.armed(), {**self._failures, **self._deciding.failures}
        return [
            RuleRow(
                **{**msgspec.structs.asdict(text), "timeframe": self._frame(name, text)},
                name=name,
                origin=origin,
                failure=failures.get(name, ""),
                armed=armed.get(name, 0),
                fired=fired.get(name, 0),
            )
            for name, (text, origin) in self._texts.items()
        ]

    def _frame(self, name: str, text: RuleText) -> str:
        return self._rules[name].timeframe if name in self._rules else text.timeframe

    async def put(self, name: str, text: RuleText) -> None:
        """Judge a rule of the board from now on, in place of one of its name, and keep it.

        Raises DefinitionError for one that can not be, and StoreError where it can not be kept: then all is
        as before.
        """
        async with self._turn:
            self._of_board(name)
            if name not in self._texts and len(self._texts) >= MOST_RULES:
                raise DefinitionError(f"There are {MOST_RULES:,} rules already: delete one of them.")
            rule = self._make(name, text, "board")
            before = self._texts.get(name)
            body = msgspec.json.encode(text).decode()
            await self._log.do(lambda outbox: outbox.put_rule(name, body))
            try:
                await self._deciding.change(tuple({**self._rules, name: rule}.values()))
            except KlinehubError:
                await self._restore(name, before)
                raise
            self._texts[name], self._rules[name] = (text, "board"), rule
            self._failures.pop(name, None)

    async def _restore(self, name: str, before: tuple[RuleText, Origin] | None) -> None:
        if before is None:
            await self._log.do(lambda outbox: outbox.drop_rule(name))
        else:
            body = msgspec.json.encode(before[0]).decode()
            await self._log.do(lambda outbox: outbox.put_rule(name, body))

    async def drop(self, name: str) -> None:
        """Judge a rule of the board no more, and forget it; its alerts stay in the log."""
        async with self._turn:
            if name not in self._texts:
                raise UnknownName("rule", name, self._texts)
            self._of_board(name)
            await self._deciding.change(tuple(rule for rule in self._rules.values() if rule.name != name))
            await self._log.do(lambda outbox: outbox.drop_rule(name))
            for held in (self._texts, self._rules, self._failures):
                held.pop(name, None)

    def _of_board(self, name: str) -> None:
        """Refuse to change what stands in the file."""
        if name in self._texts and self._texts[name][1] == "file":
            raise DefinitionError(f"{name} stands in klinehub.toml: change it there and start again.")
