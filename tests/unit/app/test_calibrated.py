"""What a hub's hits are held against follows its file; what fails is said once, and nothing is lost by it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from klinehub.app.calibrated import Calibrated
from klinehub.app.config import load
from klinehub.scan.likeness import Bucket, Calibration, Calibrations, Outcome

pytestmark = pytest.mark.timeout(60)
WHOSE: dict[str, Any] = dict.fromkeys(("screen", "hash", "timeframe", "data", "code", "universe"), "x")
WHEN: dict[str, Any] = dict.fromkeys(("start", "end", "bars", "symbols", "made"), 1)
BUCKET = Bucket(None, None, 5, 2, (Outcome(1, 5, 0.01, None, 0.5),))
ONE = Calibrations((Calibration(**WHOSE, **WHEN, buckets=(BUCKET,)),))


class Held:
    """Stands in for a hub and its scanning: keeps what hits are held against."""

    def __init__(self) -> None:
        self.scanning = self
        self.calibrations, self.calibration_fault = Calibrations(), ""
        self.taken = 0

    def hold_against(self, calibrations: Calibrations) -> None:
        self.calibrations, self.calibration_fault = calibrations, ""
        self.taken += 1


def calibrated(hub: Any, folder: Path) -> Calibrated:
    config = load(None, {"KLINEHUB_STORE_PATH": str(folder), "KLINEHUB_EVIDENCE_EVERY": "24"})
    return Calibrated(hub, config, folder / "c.json")


async def test_a_file_that_changes_is_read_again_and_one_that_does_not_is_left_alone(tmp_path: Path) -> None:
    hub, file = Held(), tmp_path / "c.json"
    kept = calibrated(hub, tmp_path)
    await kept.look()
    assert hub.taken == 0

    file.write_bytes(msgspec.json.encode(ONE))
    await kept.look()
    await kept.look()
    assert (hub.calibrations, hub.taken) == (ONE, 1)

    file.unlink()
    await kept.look()
    assert hub.calibrations == Calibrations()


async def test_a_damaged_file_is_said_once_and_what_was_known_stays(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub, file = Held(), tmp_path / "c.json"
    kept = calibrated(hub, tmp_path)
    file.write_bytes(msgspec.json.encode(ONE))
    await kept.look()

    for text in ("{", "["):
        file.write_text(text * 100)
        await kept.look()
    for _ in range(3):
        await kept.look()

    assert hub.calibrations == ONE
    assert "holds no calibration" in hub.calibration_fault
    assert 1 <= capfd.readouterr().err.count("holds no calibration") <= 2
    file.write_bytes(msgspec.json.encode(Calibrations()))
    await kept.look()
    assert (hub.calibrations, hub.calibration_fault) == (Calibrations(), "")


async def test_a_calibration_that_fails_beside_the_hub_is_said_and_changes_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub = Held()
    hub.calibrations = ONE
    (tmp_path / "empty").mkdir()

    await calibrated(hub, tmp_path / "empty")._make()

    assert hub.calibrations == ONE
    assert "keeps no klines" in hub.calibration_fault
    assert "evidence: calibrating ended with 2" in capfd.readouterr().err
