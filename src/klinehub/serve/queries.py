"""What the own API can be asked: the parameters of each question, with their limits."""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from klinehub.alerts.rule import MOST_NAME
from klinehub.domain.timeframe import TIMEFRAMES

# Up to the year 2100, where what exchanges list ends.
_LAST_TIME = 4_102_444_800_000

_Symbol = Annotated[
    str,
    Meta(min_length=1, max_length=32, description="a symbol as the exchange names it", examples=["BTCUSDT"]),
]
_Timeframe = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=3,
        description=f"a timeframe that is kept, of {' '.join(TIMEFRAMES)}",
        examples=["15m"],
    ),
]
_Moment = Annotated[int, Meta(ge=0, le=_LAST_TIME, description="ms UTC", examples=[1_700_000_000_000])]
_Where = Annotated[
    str,
    Meta(
        min_length=1,
        # Whatever the letters, an address with it fits into the 8 KiB that a request line may have.
        max_length=500,
        description="a condition of the filter language (docs/language.md)",
        examples=["rsi < 30 and volume_surge > 2"],
    ),
]
_Screen = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="a screen of klinehub.toml, a preset, or `score`",
        examples=["momentum"],
    ),
]
_Score = Annotated[float, Meta(ge=0, le=100, description="only scores of at least this size")]
_Top = Annotated[int, Meta(ge=1, le=2_000, description="how many hits at most")]
_Limit = Annotated[int, Meta(ge=1, le=10_000, description="how many rows at most, the newest")]


class Nothing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """No parameters."""


class SymbolsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the symbols."""

    stale: Annotated[
        Literal["all", "only", "none"], Meta(description="all symbols, only stale ones, or none of these")
    ] = "all"


class KlinesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which bars: the last ones, the first ones from `start` on, or the last ones before `end`."""

    symbol: _Symbol
    timeframe: _Timeframe
    limit: Annotated[int, Meta(ge=1, le=1_500, description="how many bars at most")] = 300
    start: _Moment | UnsetType = UNSET
    end: _Moment | UnsetType = UNSET
    forming: Annotated[
        Literal["no", "yes"],
        Meta(description="with the bar that is still open, where neither start nor end is given"),
    ] = "no"
    layout: Annotated[
        Literal["rows", "columns"],
        Meta(description="of JSON: an object for each bar, or a list for each field"),
    ] = "rows"


class ScanQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to look for; without anything the default score."""

    screen: _Screen | UnsetType = UNSET
    where: _Where | UnsetType = UNSET
    timeframe: _Timeframe | UnsetType = UNSET
    min_score: _Score | UnsetType = UNSET
    side: Annotated[Literal["long", "short"], Meta(description="only hits of this side")] | UnsetType = UNSET
    top: _Top | UnsetType = UNSET


class SeriesQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which expressions of which series, at the last bars, or the last ones that open before `end`."""

    symbol: _Symbol
    timeframe: _Timeframe
    columns: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            description="expressions of the filter language (docs/language.md), with `;` between them",
            examples=["rsi;zscore(volume_surge)"],
        ),
    ]
    limit: Annotated[int, Meta(ge=1, le=1_000, description="how many bars")] = 300
    end: Annotated[int, Meta(ge=0, le=_LAST_TIME, description="ms UTC, 0 for now", examples=[0])] = 0


class CheckQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which text: a condition, or any other expression."""

    where: _Where | UnsetType = UNSET
    column: (
        Annotated[
            str,
            Meta(min_length=1, max_length=500, description="an expression", examples=["zscore(rsi)"]),
        ]
        | UnsetType
    ) = UNSET
    timeframe: _Timeframe | UnsetType = UNSET


class PairlistQuery(ScanQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to look for; without anything the universe, by turnover."""

    refresh_period: (
        Annotated[int, Meta(ge=1, le=86_400, description="the least seconds between two askings")] | UnsetType
    ) = UNSET


class FactorsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the factors."""

    family: (
        Annotated[str, Meta(min_length=1, max_length=32, description="only one family", examples=["trend"])]
        | UnsetType
    ) = UNSET


class RowsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many rows, and of which symbol."""

    symbol: _Symbol | UnsetType = UNSET
    limit: _Limit = 1_000


class AlertsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the alerts."""

    after: Annotated[int, Meta(ge=0, le=2**53, description="only those with a larger id")] = 0
    limit: _Limit = 1_000
    symbol: _Symbol | UnsetType = UNSET


class RuleName(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which of the rules."""

    name: Annotated[str, Meta(min_length=1, max_length=MOST_NAME, description="the name of a rule")]


class EventsQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to listen for."""

    closes: Annotated[Literal["no", "yes"], Meta(description="each bar that closes")] = "yes"
    alerts: Annotated[Literal["no", "yes"], Meta(description="each alert that is written down")] = "no"
    screens: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=500,
                description="names of screens, with commas between them, at most 16",
                examples=["score,momentum"],
            ),
        ]
        | UnsetType
    ) = UNSET
