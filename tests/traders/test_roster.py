"""Entries of `run.trader`: name, bars of its own, weight; and the label that all records call a trader by."""

from __future__ import annotations

import pytest

from agora.traders.roster import Entry, read_entry, read_roster, roster_faults

KINDS = ("trend", "ema_cross")
INTERVALS = {"5s": 5, "1m": 60}


def read(text: str) -> Entry:
    """One entry."""
    return read_entry(text, kinds=KINDS, intervals=INTERVALS)


@pytest.mark.requirement("B64")
@pytest.mark.parametrize(
    "text, entry, label",
    [
        ("trend", Entry("trend"), "trend"),
        ("trend@5s", Entry("trend", "5s"), "trend@5s"),
        ("trend=0.5", Entry("trend", "", 500_000), "trend"),
        ("ema_cross@1m=0.25", Entry("ema_cross", "1m", 250_000), "ema_cross@1m"),
        ("trend=1", Entry("trend", "", 1_000_000), "trend"),
        ("trend=1.0", Entry("trend", "", 1_000_000), "trend"),
        ("trend=.5", Entry("trend", "", 500_000), "trend"),
        ("trend=0.000001", Entry("trend", "", 1), "trend"),
        ("trend=0.123456", Entry("trend", "", 123_456), "trend"),
    ],
)
def test_an_entry_says_who_on_which_bars_with_which_weight(text: str, entry: Entry, label: str) -> None:
    """Nothing said: bars of the run, the whole of what it proposes. The weight is no part of the label."""
    assert (read(text), read(text).label) == (entry, label)


@pytest.mark.parametrize(
    "text, what",
    [
        ("oracle", "a trader is one of ema_cross, trend"),
        ("", "a trader is one of"),
        ("Trend", "a trader is one of"),
        (" trend", "a trader is one of"),
        ("trend@7s", "one of 5s, 1m"),
        ("trend@", "one of 5s, 1m"),
        ("trend@1m@5s", "NAME@INTERVAL=WEIGHT"),
        ("trend=0.5@1m", "NAME@INTERVAL=WEIGHT"),
        ("trend=0.5=0.5", "NAME@INTERVAL=WEIGHT"),
        *((f"trend={weight}", "above 0, at most 1") for weight in ("", "0", "0.0", "0.000000", "-1", "1.000001", "2")),
        *((f"trend={weight}", "six decimals") for weight in ("0.1234567", "1e-3", "nan", "inf", "½", "0,5", "٠.٥")),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(text: str, what: str) -> None:
    """Each part by itself."""
    with pytest.raises(ValueError, match=what):
        read(text)


def test_all_faults_of_a_roster_are_told_and_labels_are_distinct() -> None:
    """The same name on other bars is another trader; another weight alone is not."""
    texts = ("trend", "oracle", "trend@5s", "trend=0.5", "trend@5s=0.1", "ema_cross=2")
    faults = dict(roster_faults(texts, kinds=KINDS, intervals=INTERVALS))
    assert list(faults) == ["oracle", "trend=0.5", "trend@5s=0.1", "ema_cross=2"]
    assert faults["trend=0.5"] == "trend trades already: give it an interval of its own"
    with pytest.raises(ValueError, match="a trader is one of"):
        read_roster(texts, kinds=KINDS, intervals=INTERVALS)
    roster = read_roster(("trend", "trend@5s", "ema_cross=0.5"), kinds=KINDS, intervals=INTERVALS)
    assert [entry.label for entry in roster] == ["trend", "trend@5s", "ema_cross"]
