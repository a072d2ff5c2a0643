"""Subjects: what would mean something else on NATS stays out of them, and the stream has all that is kept."""

import fnmatch

from klinehub.relay.subjects import Subjects


def kept(subjects: Subjects, subject: str) -> bool:
    return any(fnmatch.fnmatchcase(subject, pattern.replace(">", "*")) for pattern in subjects.kept)


def test_a_market_has_its_own_stream_and_subjects() -> None:
    subjects = Subjects("klinehub", "binance-usdm")

    assert subjects.stream == "KLINEHUB_V1_BINANCE-USDM"
    assert subjects.bars("1m", late=False) == "klinehub.v1.binance-usdm.klines.1m"
    assert subjects.bars("1m", late=True) == "klinehub.v1.binance-usdm.klines.1m.late"
    assert subjects.bars("1M", late=False) != subjects.bars("1m", late=False)


def test_what_would_mean_something_in_a_subject_is_replaced() -> None:
    subjects = Subjects("my.desk", "ccxt:bybit")

    assert subjects.root == "my-desk.v1.ccxt-bybit"
    assert subjects.scans("rsi > 70 *") == "my-desk.v1.ccxt-bybit.scans.rsi-70-"
    assert subjects.pulse("host 1.lan") == "my-desk.v1.ccxt-bybit.pulse.host-1-lan"


def test_bars_listings_scans_and_alerts_are_kept_and_pulses_are_not() -> None:
    subjects = Subjects("klinehub", "binance-usdm")

    for subject in (subjects.bars("5m", late=True), subjects.listing, subjects.scans("a"), subjects.alerts):
        assert kept(subjects, subject)
    assert not kept(subjects, subjects.pulse("one"))
