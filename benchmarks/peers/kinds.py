"""The kinds of work by name."""

from collections.abc import Mapping
from typing import Final

from benchmarks.peers import ic, indicators, ingest, rest
from benchmarks.peers.work import Kind

KINDS: Final[Mapping[str, Kind]] = {
    "ingest": ingest.KIND,
    "indicators": indicators.KIND,
    "ic": ic.KIND,
    "rest": rest.KIND,
}
