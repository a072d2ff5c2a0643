"""What the history loads: a hub that keeps and reads klines needs no pandas."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from klinehub.domain.timeframe import timeframe
from klinehub.store.history import HistoryStore
from tests.unit.store.series import plain

store, frame = HistoryStore(Path(sys.argv[1])), timeframe("1h")
store.write(frame, {"A": plain(frame, 100, 50), "B": plain(frame, 100, 50, 2)})
assert len(store.read(frame, None, 0, 2**42)) == 2
assert store.verify().sound
assert store.compact(frame, "1970-01") == ()
print([name for name in ("pandas", "polars", "asyncio") if name in sys.modules])
"""


def test_neither_writing_nor_reading_loads_what_takes_a_second(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=root, capture_output=True, text=True, check=True
    )

    assert "pandas" not in done.stdout
    assert "polars" not in done.stdout
