"""Markets as Gamma lists them."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agora.domain.numbers import NS_PER_S
from agora.venues.polymarket.wire_gamma import gamma_market, gamma_markets, updown_slug
from agora.venues.wire_values import Malformed, decode_json
from tests.venues.polymarket.vectors import DOWN_TOKEN, UP_TOKEN, text_of

START_S = 1_791_014_400
MARKET: dict[str, Any] = {
    "conditionId": "0x78", "slug": f"btc-updown-15m-{START_S}", "outcomes": '["Up", "Down"]',
    "outcomePrices": '["0.505", "0.495"]', "clobTokenIds": f'["{UP_TOKEN}", "{DOWN_TOKEN}"]',
    "eventStartTime": "2026-10-03T08:00:00Z", "endDate": "2026-10-03T08:15:00Z", "active": True, "closed": False,
}  # fmt: skip


def test_a_window_of_today_is_read(venue_samples: Path) -> None:
    """Settled by an average of sixty seconds, with a fee that the market states."""
    row: Any = decode_json(text_of(venue_samples, "gamma_market_btc_updown_15m_composite_oct2026"))
    market = gamma_market(row)
    assert (market.start_ns, market.end_ns) == (START_S * NS_PER_S, (START_S + 900) * NS_PER_S)
    assert (market.twap_s, market.tick_size, market.order_size_min) == (60, Decimal("0.01"), Decimal(5))
    assert market.fee is not None
    assert (market.fee.rate, market.fee.exponent, market.fee.rebate_rate) == (Decimal("0.07"), 1, Decimal("0.2"))
    assert (market.is_active, market.is_closed, market.is_accepting_orders, market.has_order_book) == (
        True, False, True, True,
    )  # fmt: skip
    assert (market.winner, market.price_to_beat, market.closed_ns) == (None, None, 0)
    assert (market.rewards_size_min, market.rewards_spread_max) == (Decimal(50), Decimal("4.5"))


def test_a_window_of_last_spring_is_read(venue_samples: Path) -> None:
    """Settled by one price; the fee is not stated, which is not the same as none."""
    row: Any = decode_json(text_of(venue_samples, "gamma_market_btc_updown_5m_march2026"))
    market = gamma_market(row)
    assert (market.twap_s, market.fee, market.has_fees, market.version) == (0, None, True, "")
    assert market.end_ns - market.start_ns == 300 * NS_PER_S


def test_a_resolved_window_tells_its_winner_and_its_prices(venue_samples: Path) -> None:
    """Closed, resolved, and one price of 1."""
    row: Any = decode_json(text_of(venue_samples, "gamma_market_btc_updown_15m_resolved_composite"))
    market = gamma_market(row)
    assert market.winner is not None
    assert market.winner.label == "Up"
    assert (market.price_to_beat, market.final_price) == (Decimal("84634.68903016155"), Decimal("84701.5"))
    assert market.closed_ns > 0
    for change in (
        {"closed": False},
        {"umaResolutionStatus": "proposed"},
        {"umaResolutionStatus": None},
        {"outcomePrices": '["0.99", "0.01"]'},
        {"outcomePrices": '["1", "1"]'},
        {"outcomePrices": '["1", "0.5"]'},
        {"outcomePrices": '["0.5", "0.5"]'},
    ):
        assert gamma_market({**row, **change}).winner is None, change


def test_trap_tokens_are_mapped_by_label_and_not_by_place() -> None:
    """A market may list Down first."""
    turned = {**MARKET, "outcomes": '["Down", "Up"]'}
    assert (gamma_market(MARKET).token("Up"), gamma_market(MARKET).token("down")) == (UP_TOKEN, DOWN_TOKEN)
    assert (gamma_market(turned).token("Up"), gamma_market(turned).token("Down")) == (DOWN_TOKEN, UP_TOKEN)
    with pytest.raises(Malformed, match="no outcome"):
        gamma_market(MARKET).token("Yes")


def test_a_market_of_protocol_v2_has_other_tokens() -> None:
    """Also where both are listed."""
    both = {**MARKET, "positionIds": '["1", "2"]'}
    assert gamma_market(both).token("Up") == UP_TOKEN
    assert gamma_market({**both, "version": "v1"}).token("Up") == UP_TOKEN
    assert gamma_market({**both, "version": "v2"}).token("Up") == "1"


@pytest.mark.parametrize("tokens", [None, "", "[]", '["", ""]', []])
def test_a_market_whose_tokens_are_not_made_yet_has_no_outcomes(tokens: object) -> None:
    """It is asked for again later."""
    assert gamma_market({**MARKET, "clobTokenIds": tokens}).outcomes == ()


BAD_MARKETS: dict[str, dict[str, Any]] = {
    "one token": {"clobTokenIds": f'["{UP_TOKEN}"]'},
    "same token": {"clobTokenIds": f'["{UP_TOKEN}", "{UP_TOKEN}"]'},
    "same label": {"outcomes": '["Up", "Up"]'},
    "no labels": {"outcomes": None},
    "no list inside": {"clobTokenIds": '{"a": 1}'},
    "no JSON inside": {"outcomes": "Up, Down"},
    "deep inside": {"outcomes": "[" * 5_000},
    "prices": {"outcomePrices": '["0.5"]'},
    "price": {"outcomePrices": '["NaN", "0.5"]'},
    "negative price": {"outcomePrices": '["-0.5", "1.5"]'},
    "start": {"eventStartTime": "yesterday"},
    "end": {"endDate": 5},
    "closed": {"closedTime": 5},
    "condition": {"conditionId": None},
    "tick": {"orderPriceMinTickSize": 5},
    "minimum": {"orderMinSize": -5},
    "fee": {"feeSchedule": {"rate": 7, "exponent": 1}},
    "fee without rate": {"feeSchedule": {}},
    "average of nothing": {"cryptoMarketConfig": {"twapEnabled": True}},
    "events": {"events": [5]},
}


@pytest.mark.requirement("B34")
@pytest.mark.parametrize("change", BAD_MARKETS.values(), ids=BAD_MARKETS)
def test_a_market_that_contradicts_itself_is_malformed(change: dict[str, Any]) -> None:
    """Above all where token and label cannot be told: the wrong one would be bought."""
    with pytest.raises(Malformed):
        gamma_market({**MARKET, **change})


def test_markets_come_as_a_list_a_page_or_the_parts_of_an_event() -> None:
    """The same rows."""
    for data in ([MARKET], {"markets": [MARKET]}, {"data": [MARKET], "next_cursor": "x"}):
        page = gamma_markets(data)
        assert [market.slug for market in page.rows] == [MARKET["slug"]]
        assert page.is_last == ("data" not in data)
    for wrong in (5, None, {}, {"markets": 5}, [5]):
        with pytest.raises(Malformed):
            gamma_markets(wrong)


def test_a_window_has_a_name() -> None:
    """Its start is a multiple of its length."""
    assert updown_slug("btc", window="15m", start_s=START_S) == MARKET["slug"]
    assert updown_slug("eth", window="5m", start_s=START_S + 300) == f"eth-updown-5m-{START_S + 300}"
    for window, start_s in (("15m", START_S + 300), ("5m", START_S + 1), ("1h", START_S)):
        with pytest.raises(ValueError, match="no window"):
            updown_slug("btc", window=window, start_s=start_s)
