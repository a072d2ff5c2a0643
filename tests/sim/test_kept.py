"""A hub with a store on a disk that fails: nothing acknowledged is lost, and what would be is found."""

import numpy as np
import pytest

from klinehub.sim.disk import Disk
from klinehub.sim.faults import CONSUMER_KINDS, DISK_KINDS, UNFELT, Fault, disk_schedule
from klinehub.sim.kept import PATH, Kept
from klinehub.sim.scene import draw
from klinehub.sim.soak import WARM, Outcome, planned, soak
from klinehub.store import sqlite
from klinehub.store.base import Change
from klinehub.store.keeping import Keeping

pytestmark = pytest.mark.timeout(120)
# A scene with a store.
SEED = 2


def faults(*kinds: str, size: float = 0.5, pick: float = 0.3) -> list[Fault]:
    """Give faults one after the other, each with the time to be over before the next."""
    start = draw(SEED).start + WARM
    return [
        Fault(kind, start + at * 80_000, DISK_KINDS[kind].shortest, pick, size)
        for at, kind in enumerate(kinds)
    ]


def kinds_of(outcome: Outcome) -> set[str]:
    return {one.kind for one in outcome.divergences}


def test_stores_have_dice_of_their_own_and_calm_seeds_no_trouble() -> None:
    scenes = [draw(seed) for seed in range(300)]
    assert 100 < sum(scene.store for scene in scenes) < 200
    for scene in scenes:
        drawn = {fault.kind for fault in planned(scene.seed)} & set(DISK_KINDS)
        assert not drawn or scene.store
    some = [disk_schedule(np.random.default_rng(seed), 10**9, 10**9 + 1_800_000) for seed in range(400)]
    assert {fault.kind for faults in some for fault in faults} == set(DISK_KINDS)
    assert {len(faults) for faults in some} == set(range(1, 9))
    assert set(DISK_KINDS) > UNFELT - set(CONSUMER_KINDS)


@pytest.mark.parametrize(("size", "pick"), [(0.1, 0.3), (0.9, 0.8)])
def test_every_fault_of_the_disk_is_survived(size: float, pick: float) -> None:
    outcome = soak(SEED, faults(*DISK_KINDS, size=size, pick=pick))
    assert outcome.divergences == ()
    assert set(outcome.faults) == set(DISK_KINDS)
    assert outcome.kept > 300
    assert outcome.restored > 300


def test_a_full_disk_impairs_no_symbol() -> None:
    outcome = soak(SEED, faults("disk_full", "disk_errors", "read_only_disk", "second_hub"))
    assert outcome.divergences == ()
    assert outcome.calm == outcome.symbol_seconds
    assert outcome.calm_fresh / outcome.calm > 0.999


def test_a_newer_store_stays_what_it_is_though_it_is_harmed_and_nothing_is_newer_twice() -> None:
    newer, again, cut = faults("newer_store", "newer_store", "cut_file")
    at = newer.at
    some = [newer, again._replace(at=at + 2_000), cut._replace(at=at + 4_000)]
    outcome = soak(SEED, [one._replace(seconds=one.seconds and 20.0) for one in some])
    assert outcome.divergences == ()
    assert outcome.faults == {"newer_store": 1, "cut_file": 1}


def test_a_commit_that_is_acknowledged_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_SET_UP", sqlite._SET_UP.replace("FULL", "NORMAL"))
    outcome = soak(SEED, faults("power_cut", "power_cut", "power_cut"), patience=1)
    assert kinds_of(outcome) == {"S2"}


def test_a_hub_that_does_not_tell_that_its_disk_fails_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keeping, "durable", property(lambda _: True, lambda *_: None), raising=False)
    full = [one._replace(seconds=70.0) for one in faults("read_only_disk")]
    assert "S1" in kinds_of(soak(SEED, full, patience=1))


def test_a_hub_that_restores_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klinehub.store.keeping.put_bar", lambda *_: 0)
    assert "S2" in kinds_of(soak(SEED, faults("kill"), patience=1))


def opened(kept: Kept) -> sqlite.SqliteTables:
    tables = kept.open().hot.tables
    assert isinstance(tables, sqlite.SqliteTables)
    return tables


def test_what_was_acknowledged_has_to_be_there_and_what_was_not_whole_or_not_at_all() -> None:
    kept = Kept()
    tables = opened(kept)
    tables.commit(Change(slices=((1, b"a"), (2, b"b"))))
    kept.tried(Change(slices=((3, b"c"), (4, b"d"))))
    tables.close()
    opened(kept).close()
    assert kept.found == []

    kept.tried(Change(slices=((3, b"c"), (4, b"d"))))
    plain = sqlite.SqliteTables(PATH, origin=None, vfs=kept.disk.vfs)
    plain.commit(Change(slices=((3, b"c"), (4, b"d"))))
    plain.close()
    opened(kept).close()
    assert kept.found == []

    kept.tried(Change(slices=((5, b"e"), (6, b"f"))))
    plain = sqlite.SqliteTables(PATH, origin=None, vfs=kept.disk.vfs)
    plain.commit(Change(slices=((5, b"e"),), gone=((1, 1),)))
    plain.close()
    opened(kept).close()
    assert [str(one) for one in kept.found] == [
        "S2 : 1 acknowledged slices are not there as they were, 1 are new (at 0)"
    ]


def test_after_damage_less_may_be_there() -> None:
    kept = Kept()
    tables = opened(kept)
    tables.commit(Change(slices=((1, b"a"),)))
    tables.close()
    kept.disk, kept.damaged = Disk(), True
    opened(kept).close()
    assert kept.found == []
    assert kept.acknowledged == 1
