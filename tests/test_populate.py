"""A market built from its settings: seats, purses, plan; the news file with its faults; what a run assumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agora import populate
from agora.domain.errors import UsageFault
from agora.domain.market_events import NewsArrived, Shock
from agora.domain.numbers import NS_PER_S
from agora.traders.personas import PERSONAS, PersonaStrategy
from tests.market.markets import settings

SYMBOLS = ("ARBO", "BRIO")


def written(tmp_path: Path, content: Any) -> Path:
    """A news file; text as it is, anything else as JSON."""
    path = tmp_path / "news.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.requirement("R5")
def test_every_persona_can_be_seated() -> None:
    """Two of each, named by persona and number, each with an account of its own and a policy of rules."""
    wanted = [f"{persona.value}=2" for persona in PersonaStrategy]
    market = populate.build_market(settings(market__agents=wanted, market__population=0))
    assert len(market.seats) == 2 * len(PersonaStrategy)
    assert [seat.name for seat in market.seats[:2]] == ["conservative-1", "conservative-2"]
    assert len({seat.account for seat in market.seats}) == len(market.seats)
    assert all(seat.rules is not None and seat.asking is None for seat in market.seats)


def test_with_a_model_every_persona_asks() -> None:
    """The same seats and purses, with the model's name."""
    model = {"llm__model": "m", "llm__base_url": "http://127.0.0.1:1/v1"}
    rules, asking = populate.build_market(settings()), populate.build_market(settings(**model))
    assert [seat.name for seat in asking.seats] == [seat.name for seat in rules.seats]
    assert all(seat.asking is not None and seat.rules is None and seat.model == "m" for seat in asking.seats)
    for one, other in zip(rules.seats, asking.seats, strict=True):
        assert rules.engine.portfolio(one.account) == asking.engine.portfolio(other.account)


@pytest.mark.requirement("R4")
def test_a_purse_is_cash_and_units_as_its_persona_has_them() -> None:
    """A whale has its weight in cash; units of equal worth in every asset, rounded down to whole lots."""
    market = populate.build_market(settings(market__agents=["whale=1", "dca=1"], market__agent_cash="10000"))
    for seat in market.seats:
        kind = PERSONAS[PersonaStrategy(seat.persona)]
        assert market.engine.accounts.cash_units(seat.account, "USD") == 10_000 * 10**8 * kind.cash_percent // 100
        for symbol, price in (("ARBO", 200), ("BRIO", 150)):
            lots = 10_000 * kind.units_percent // 100 // 2 // price
            assert market.engine.accounts.position_lots(seat.account, symbol) == lots


def test_unknown_personas_are_refused_by_name() -> None:
    """All of them, with those that there are; also before a market is built."""
    config = settings(market__agents=["wizard=1", "fomo=1", "oracle=2"])
    for refuse in (populate.build_market, populate.check):
        with pytest.raises(UsageFault, match=r"no persona wizard, oracle; there are conservative, .*dca"):
            refuse(config)


def test_a_market_without_a_crowd_has_none() -> None:
    """A population of zero leaves the personas among themselves."""
    assert populate.build_market(settings(market__population=0)).crowd is None
    assert populate.build_market(settings(market__population=100)).crowd is not None


@pytest.mark.parametrize(
    "changes,ticks,tick_ns",
    [
        ({"market__ticks": 7, "run__duration_minutes": 5}, 7, NS_PER_S),
        ({"run__duration_minutes": 2}, 120, NS_PER_S),
        ({"run__duration_minutes": 2, "market__tick": "0.5"}, 240, NS_PER_S // 2),
        ({"market__tick": "0.001"}, 0, NS_PER_S // 1_000),
    ],
)
def test_the_length_of_a_run_is_its_ticks_or_its_duration(changes: dict[str, Any], ticks: int, tick_ns: int) -> None:
    """Ticks as told, else what the duration holds, else none; `max` is a second of the market's clock to a tick."""
    config = settings(**changes)
    plan = populate.build_market(config).plan
    assert (plan.ticks_max, plan.tick_ns) == (ticks, tick_ns)
    assert populate.started(config, run_id="x").duration_ns == ticks * tick_ns


def test_a_schedule_is_read_by_tick(tmp_path: Path) -> None:
    """News and shocks of a tick in the order of the file."""
    path = written(
        tmp_path,
        [
            {"what": "news", "tick": 9, "text": "late"},
            {"what": "shock", "tick": 3, "symbol": "BRIO", "fraction": -0.25, "cause": "a flood"},
            {"what": "news", "tick": 3, "text": "flood!", "tone": -1, "symbols": ["BRIO"], "source": "wire"},
        ],
    )
    schedule = populate.read_schedule(path, SYMBOLS)
    assert schedule == {
        9: [NewsArrived(ts_ns=0, text="late", tone=0.0, source="schedule")],
        3: [
            Shock(ts_ns=0, symbol="BRIO", fraction_ppm=-250_000, cause="a flood"),
            NewsArrived(ts_ns=0, text="flood!", tone=-1.0, symbols=("BRIO",), source="wire"),
        ],
    }


NEWS = {"what": "news", "tick": 1, "text": "x"}
SHOCK = {"what": "shock", "tick": 1, "symbol": "ARBO", "fraction": 0.1, "cause": "x"}


@pytest.mark.parametrize(
    "content,words",
    [
        ("", "news.json"),
        ("not json", "news.json"),
        ({"what": "news"}, "Expected `array`"),
        ([NEWS, NEWS | {"tick": 0}], r"\$\[1\]\.tick"),
        ([NEWS | {"tone": 1.5}], r"\$\[0\]\.tone"),
        ([NEWS | {"text": ""}], r"\$\[0\]\.text"),
        ([NEWS | {"text": "x" * 501}], r"\$\[0\]\.text"),
        ([NEWS | {"colour": "red"}], "colour"),
        ([{"what": "rumour", "tick": 1}], "rumour"),
        ([{"tick": 1, "text": "x"}], "what"),
        ([NEWS | {"symbols": ["GOLD"]}], "no asset GOLD; there are ARBO, BRIO"),
        ([NEWS, SHOCK | {"symbol": "GOLD"}], "no asset GOLD"),
        ([SHOCK | {"fraction": -1}], r"\$\[0\]\.fraction"),
        ([SHOCK | {"cause": ""}], r"\$\[0\]\.cause"),
        ([{key: value for key, value in SHOCK.items() if key != "cause"}], "cause"),
        ('[{"what":"news","tick":1,"text":"x","tone":NaN}]', "news.json"),
    ],
)
def test_a_bad_news_file_is_refused_naming_the_place(content: Any, words: str, tmp_path: Path) -> None:
    """The file, and the line and member in it."""
    with pytest.raises(UsageFault, match=words) as caught:
        populate.read_schedule(written(tmp_path, content), SYMBOLS)
    assert "news.json" in str(caught.value)


def test_a_news_file_that_is_missing_or_too_large_is_refused(tmp_path: Path) -> None:
    """By name; a large one is not read."""
    with pytest.raises(UsageFault, match=r"cannot read the news file .*nothing.json"):
        populate.read_schedule(tmp_path / "nothing.json", SYMBOLS)
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(populate.NEWS_BYTES_MAX + 1)
    with pytest.raises(UsageFault, match="is larger than"):
        populate.read_schedule(path, SYMBOLS)


def test_what_a_run_takes_for_granted_is_said() -> None:
    """Crowd, fees, order of acting, news; the model's deadline where there is one."""
    assert any("100 rule agents" in line for line in populate.assumptions(settings()))
    assert not any("deadline" in line or "within" in line for line in populate.assumptions(settings()))
    model = settings(llm__model="m", llm__base_url="http://127.0.0.1:1/v1", llm__deadline_ms=750)
    assert any("decisions of m within 750 ms" in line for line in populate.assumptions(model))
