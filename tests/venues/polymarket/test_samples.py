"""Every sample of Polymarket is read by somebody, and says what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agora.venues.polymarket.wire_errors import Refusal
from agora.venues.polymarket.wire_frames import UnknownEvent
from agora.venues.wire_values import decode_json
from tests.venues.polymarket.readers import REFUSALS, SAYS_NOTHING, SMALL, reader_of
from tests.venues.polymarket.test_wire_requests import SAID
from tests.venues.polymarket.vectors import sample, text_of

VECTORS = {
    "vectors_amounts",
    "vectors_book_hash",
    "vectors_crypto_taker_fee",
    "vectors_signing",
    "vectors_taker_buy_semantics",
}


def names(folder: Path) -> list[str]:
    """The samples that there are."""
    return sorted(path.stem for path in (folder / "polymarket").glob("*.json"))


@pytest.mark.requirement("B34")
def test_every_sample_is_read_and_none_is_forgotten(venue_samples: Path) -> None:
    """What the venue sends by its reader, as an event that is known; what we say by its writer; vectors elsewhere."""
    found = names(venue_samples)
    assert len(found) > 80
    unread = [name for name in found if reader_of(name) is None]
    assert set(unread) == {*SAID, *VECTORS, "rest_small_responses"}
    for name in found:
        read = reader_of(name)
        if read is not None:
            events = read(text_of(venue_samples, name))
            assert not any(
                isinstance(event, UnknownEvent) for event in (events if isinstance(events, tuple) else [events])
            )


def test_every_small_answer_is_read(venue_samples: Path) -> None:
    """One value each."""
    answers = sample(venue_samples, "rest_small_responses")
    assert answers.keys() == SMALL.keys() | SAYS_NOTHING
    for name, read in SMALL.items():
        assert read(decode_json(json.dumps(answers[name]))) is not None, name


@pytest.mark.parametrize("name", REFUSALS)
def test_every_sample_of_a_refusal_is_told_apart(venue_samples: Path, name: str) -> None:
    """By its text, its status or its code."""
    read = reader_of(name)
    assert read is not None
    found: Any = read(text_of(venue_samples, name))
    assert isinstance(found, Refusal)
    assert found.kind is REFUSALS[name]
