"""Requests that are passed on for somebody else, and the replies: what may be secret in them is not shown."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from klinehub.errors import DefinitionError

# What may stand in a request line and in a header without ending it.
_PLAIN: Final = re.compile(r"[!-~]*")
_PLAIN_VALUE: Final = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it is to be sent: *query* as it stands in the URL, without the question mark.

    Query, headers and body may carry a key, a secret's signature or an order, so none of them is in the
    `repr`. Raises DefinitionError, which repeats nothing of them, for characters that no request has.
    """

    method: str
    path: str
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        """Refuse what would end a line or a header early."""
        plain = _PLAIN.fullmatch(self.path + self.query) and "#" not in self.query and "?" not in self.path
        named = all(_PLAIN.fullmatch(name) and name for name in self.headers)
        if not (plain and named and all(_PLAIN_VALUE.fullmatch(value) for value in self.headers.values())):
            raise DefinitionError(
                "A request holds characters that a URL or a header can not have: percent-encode them."
            )


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: status, headers and the whole body, unpacked; neither headers nor body are shown."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
