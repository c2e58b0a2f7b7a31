"""Settings of a market: what cannot be listed or seated is refused before anything starts, all of it at once."""

from __future__ import annotations

import pytest

from agora.config import ConfigFaults
from agora.market.settings import MarketSettings, agents_of, listings_of
from tests.market.markets import settings


@pytest.mark.parametrize(
    "name,value,words",
    [
        ("assets", ["ARBO:200", "ARBO:100"], "ARBO is listed twice"),
        ("assets", ["arbo:200"], "SYMBOL:PRICE"),
        ("assets", ["A:200"], "SYMBOL:PRICE"),
        ("assets", ["ARBO:nan"], "ARBO:nan"),
        ("assets", ["ARBO:-5"], "ARBO:-5"),
        ("assets", ["ARBO:0.01"], "the price is 1 ticks"),
        ("assets", ["ARBO:99999999999"], "not between 10 and 1e9"),
        ("assets", [], "market.assets"),
        ("agents", ["fomo"], "PERSONA=COUNT"),
        ("agents", ["fomo=-1"], "PERSONA=COUNT"),
        ("agents", ["fomo=99999"], "PERSONA=COUNT"),
        ("agents", ["fomo=999", "dca=2"], "1001 are more than 1000"),
        ("tick", "0", "between 0.001 and 3600"),
        ("tick", "soon", "market.tick"),
        ("population", 10_001, "market.population"),
        ("agent_cash", "0", "market.agent_cash"),
    ],
)
def test_what_no_market_can_have_is_refused(name: str, value: object, words: str) -> None:
    """The message names what is wrong."""
    with pytest.raises(ConfigFaults) as caught:
        settings(**{f"market__{name}": value or ""})
    assert words in str(caught.value)


def test_all_faults_are_told_at_once() -> None:
    """Assets, agents and the tick of one section, and a fault of another section."""
    with pytest.raises(ConfigFaults) as caught:
        settings(market__assets=["ARBO:1", "ARBO:1"], market__agents=["fomo"], market__tick="9999", llm__rpm=-1)
    for words in ("ARBO is listed twice", "PERSONA=COUNT", "9999 is not between", "llm.rpm"):
        assert words in str(caught.value)


def test_assets_and_agents_are_read_in_their_order() -> None:
    """An asset without a price is listed at 100."""
    found = MarketSettings(assets=("ZETA:35.5", "ARBO"), agents=("dca=2", "fomo=0"), tick_size="0.5")
    assert [(each.instrument.symbol, each.listing_price_ticks) for each in listings_of(found)] == [
        ("ZETA", 71),
        ("ARBO", 200),
    ]
    assert agents_of(found) == (("dca", 2), ("fomo", 0))
