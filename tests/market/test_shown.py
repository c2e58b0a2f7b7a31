"""Bodies for people: all of one tick, in prices and money, not in ticks and units."""

from __future__ import annotations

import msgspec
import pytest

from agora.domain.market_events import NewsArrived
from agora.market import shown
from tests.market.markets import answer, asked_market, begun, run_on, settings, tick


def test_the_state_is_of_one_tick() -> None:
    """Prices, tickers and the newest history agree, after every tick."""
    market = begun(settings())
    for number in range(1, 31):
        tick(market)
        body = shown.state_body(market)
        assert body["tick"] == number
        assert body["tickers"] == body["prices"]
        assert body["history"][-1] == {"tick": number, "prices": body["prices"]}
        assert [point["tick"] for point in body["history"]] == list(range(number + 1))
        assert body["metrics"]["trades"] == market.state.trades


def test_the_history_is_bounded() -> None:
    """The newest 120 ticks, however long the market runs."""
    body = shown.state_body(run_on(begun(settings()), 700))
    assert [point["tick"] for point in body["history"]] == list(range(581, 701))


def test_numbers_are_prices_and_money() -> None:
    """A trade of five units at 1.10: shown as such in the state, the book, the trades, the candles, the portfolio."""
    market = asked_market(2)
    market.step(answer(market, "agent-1", "buy 5@110 buy 3@98"))
    market.step(answer(market, "agent-2", "sell 5@110"))
    tick(market)
    assert shown.state_body(market)["prices"] == {"ARBO": 1.10}
    assert shown.book_body(market, "ARBO", 5)["bids"] == [{"price": 0.98, "size": 3.0}]
    (trade,) = shown.trades_body(market, "ARBO", 10)
    assert (trade["id"], trade["price"], trade["size"]) == (1, 1.10, 5.0)
    (candle,) = shown.candles_body(market, "ARBO", "1m", limit=5)
    assert (candle["open"], candle["close"], candle["volume"], candle["trades"]) == (1.10, 1.10, 5.0, 1)
    buyer, seller = (agent["portfolio"] for agent in shown.agents_body(market))
    assert (buyer["cash"], seller["cash"]) == (994.5, 1005.5)
    assert buyer["positions"]["ARBO"]["size"] == 505.0
    assert buyer["initial_capital"] == 1_500.0
    assert buyer["total_value"] == pytest.approx(994.5 + 505 * 1.10)
    assert buyer["roi"] == pytest.approx(buyer["total_value"] / 1_500 - 1)


@pytest.mark.requirement("F7")
def test_totals_stand_under_both_of_their_names() -> None:
    """What an older page reads is the same number."""
    for agent in shown.agents_body(run_on(begun(settings()), 50)):
        portfolio = agent["portfolio"]
        assert portfolio["pnl"] == portfolio["total_pnl"]
        assert portfolio["portfolio_value"] == portfolio["total_value"]
        assert portfolio["pnl_percent"] == pytest.approx(100 * portfolio["roi"])
        assert portfolio["total_pnl"] == pytest.approx(portfolio["total_value"] - portfolio["initial_capital"])


def test_sentiment_is_the_mean_tone_of_the_news() -> None:
    """News about one asset count for it, news about all for each."""
    market = begun(settings())
    assert shown.sentiment_body(market) == {"overall": 0.0, "by_asset": {"ARBO": 0.0, "BRIO": 0.0}}
    market.step(NewsArrived(ts_ns=0, text="good", tone=0.8, symbols=("ARBO",)))
    market.step(NewsArrived(ts_ns=0, text="bad", tone=-0.4))
    body = shown.sentiment_body(market)
    assert body["by_asset"] == {"ARBO": pytest.approx(0.2), "BRIO": pytest.approx(-0.4)}
    assert body["overall"] == pytest.approx(-0.1)


def test_outcomes_of_decisions_are_counted_over_all_agents() -> None:
    """Each decision once, by its outcome."""
    market = asked_market(3)
    market.step(answer(market, "agent-1", "ok: buy 1@90"))
    market.step(answer(market, "agent-2", "refused: no"))
    tick(market)
    metrics = shown.metrics_body(market)
    assert metrics["decisions"] == {"fallback": 1, "ok": 1, "refused": 1}
    assert metrics["requests"] == 3


def test_every_body_is_json() -> None:
    """No number that JSON cannot say, no object that only Python knows."""
    market = run_on(begun(settings()), 20)
    for body in (
        shown.state_body(market),
        shown.agents_body(market),
        shown.rules_body(market),
        shown.book_body(market, "ARBO", 20),
        shown.trades_body(market, "BRIO", 50),
        shown.candles_body(market, "ARBO", "1s", limit=50),
    ):
        assert msgspec.json.decode(msgspec.json.encode(body)) == body
        assert b"null" not in msgspec.json.encode(body)


def test_the_rule_card_tells_the_terms() -> None:
    """Steps, fees and margins of each asset as numbers."""
    (first, _) = shown.rules_body(begun(settings(market__taker_fee_ppm=250)))["assets"]
    assert (first["symbol"], first["tick_size"], first["taker_fee"], first["shorting"]) == (
        "ARBO",
        "0.01",
        0.00025,
        True,
    )
