"""The words of a decision: what counts as what, and the key under which an answer is kept."""

from __future__ import annotations

import msgspec
import pytest

from agora.domain.decisions import (
    AnswerOutcome,
    Ask,
    Message,
    ReplySource,
    Role,
    counted_outcome,
    request_hash,
    request_hash_of,
)

ASK = Ask(
    agent="a-1",
    messages=(Message(Role.SYSTEM, "rules"), Message(Role.USER, "facts")),
    model="m",
    prompt_version="v1",
    answer_schema="answer.v1",
)


def test_the_outcomes_are_those_that_reports_know() -> None:
    """The eleven outcomes, no more and no fewer."""
    named = "ok repaired schema_error refused timeout rate_limited provider_error budget cache replay fallback"
    assert {outcome.value for outcome in AnswerOutcome} == set(named.split())


@pytest.mark.parametrize(
    "changes",
    [
        {"messages": (Message(Role.SYSTEM, "rules"), Message(Role.USER, "other facts"))},
        {"messages": (Message(Role.USER, "rules"), Message(Role.USER, "facts"))},
        {"messages": (Message(Role.SYSTEM, "rulesfacts"), Message(Role.USER, ""))},
        {"model": "n"},
        {"max_tokens": 7},
        {"temperature_ppm": 500_000},
        {"prompt_version": "v2"},
        {"answer_schema": "answer.v2"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_all_that_determines_an_answer_is_in_its_key(changes: dict[str, object]) -> None:
    """A change of schema, prompt version, model, parameter or message changes the hash."""
    assert request_hash(msgspec.structs.replace(ASK, **changes)) != request_hash(ASK)


def test_who_asks_and_how_patiently_is_not_in_the_key() -> None:
    """Another agent with another deadline shares the answer to the same question."""
    assert request_hash(msgspec.structs.replace(ASK, agent="b-2", deadline_ms=9)) == request_hash(ASK)


def test_the_key_is_the_same_on_every_day() -> None:
    """The hash is pinned: kept answers stay readable. The order in which parameters are named does not matter."""
    assert request_hash(ASK) == "0a6702915de1e8bb39a1d7ebb8d12a86f31334ec8a7e34ff09a338aeee751066"
    parts = {"model": "m", "prompt_version": "v1", "schema": "answer.v1"}
    one = request_hash_of(ASK.messages, params={"max_tokens": 1_024, "temperature_ppm": 0}, **parts)
    other = request_hash_of(ASK.messages, params={"temperature_ppm": 0, "max_tokens": 1_024}, **parts)
    assert one == other == request_hash(ASK)


@pytest.mark.parametrize(
    "read,source,counted",
    [
        (AnswerOutcome.OK, ReplySource.LIVE, AnswerOutcome.OK),
        (AnswerOutcome.REPAIRED, ReplySource.LIVE, AnswerOutcome.REPAIRED),
        (AnswerOutcome.OK, ReplySource.CACHE, AnswerOutcome.CACHE),
        (AnswerOutcome.REPAIRED, ReplySource.REPLAY, AnswerOutcome.REPLAY),
        (AnswerOutcome.SCHEMA_ERROR, ReplySource.CACHE, AnswerOutcome.SCHEMA_ERROR),
        (AnswerOutcome.FALLBACK, ReplySource.REPLAY, AnswerOutcome.FALLBACK),
    ],
)
def test_a_usable_answer_counts_by_where_it_came_from(
    read: AnswerOutcome, source: ReplySource, counted: AnswerOutcome
) -> None:
    """What came from the cassette and could be used counts as that; what could not counts by its fault."""
    assert counted_outcome(read, source) is counted
