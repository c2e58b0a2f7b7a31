"""Bars of the perpetual exchange: minutes from trades, longer intervals from minutes, the last 24 hours."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agora.domain.numbers import NS_PER_S
from agora.exchange.perp_bars import BARS_KEPT, INTERVALS_NS, Bars, start_of
from agora.exchange.perp_records import Bar, TriggerBy
from tests.exchange.perps import BTC, HOUSE, PRICE, TICK_LOT, buy, perps, quote, sell

MINUTE = 60 * NS_PER_S
DAY = 1_440 * MINUTE


def at(text: str) -> int:
    """Time in ns of an ISO date in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * NS_PER_S


STARTS = {
    "a minute": ("1m", "2026-05-13T10:17:31", "2026-05-13T10:17:00"),
    "four hours": ("4h", "2026-05-13T10:17:31", "2026-05-13T08:00:00"),
    "a day": ("1d", "2026-05-13T10:17:31", "2026-05-13T00:00:00"),
    "a week, a Wednesday": ("1w", "2026-05-13T10:17:31", "2026-05-11T00:00:00"),
    "a month": ("1M", "2026-05-13T10:17:31", "2026-05-01T00:00:00"),
}


@pytest.mark.parametrize("name", STARTS)
def test_an_interval_begins_where_the_calendar_says(name: str) -> None:
    """Weeks on Mondays, months on their first day, the rest on multiples, in UTC."""
    interval, text, start = STARTS[name]
    assert start_of(interval, at(text)) == at(start)


def flat(start_ns: int, price: int) -> Bar:
    """A minute without a trade."""
    return Bar(start_ns=start_ns, open_ticks=price, high_ticks=price, low_ticks=price, close_ticks=price)


def test_minutes_hold_their_trades_and_repeat_the_close_without_one() -> None:
    """Open, high, low, close, sizes; a minute without a trade is flat, the forming one is the last."""
    bars = Bars(100)
    for second, price in ((1, 105), (20, 99), (59, 103), (181, 90)):
        bars.add(second * NS_PER_S, price, size_lots=2, quote_units=2 * price)
    first, *between, last = bars.bars("1m", limit=10)
    assert first == Bar(
        start_ns=0,
        open_ticks=105,
        high_ticks=105,
        low_ticks=99,
        close_ticks=103,
        size_lots=6,
        quote_units=614,
        trades=3,
    )
    assert between == [flat(MINUTE, 103), flat(2 * MINUTE, 103)]
    assert (last.start_ns, last.open_ticks, last.close_ticks) == (3 * MINUTE, 90, 90)


def test_longer_intervals_are_their_minutes_together() -> None:
    """Every interval at every minute equals the plain join of the minutes in it."""
    bars = Bars(100)
    for minute in range(200):
        bars.add(minute * MINUTE + 7, 100 + minute * 37 % 11, size_lots=1 + minute % 3, quote_units=minute)
        bars.add(minute * MINUTE + 9, 100 + minute * 53 % 17, size_lots=1)
    minutes = bars.bars("1m", limit=200)
    for interval in ("3m", "15m", "1h", "1d", "1M"):
        for bar in bars.bars(interval, limit=200):
            own = [minute for minute in minutes if start_of(interval, minute.start_ns) == bar.start_ns]
            assert (bar.open_ticks, bar.close_ticks) == (own[0].open_ticks, own[-1].close_ticks), interval
            assert bar.high_ticks == max(minute.high_ticks for minute in own)
            assert bar.low_ticks == min(minute.low_ticks for minute in own)
            assert bar.size_lots == sum(minute.size_lots for minute in own)
            assert bar.trades == 2 * len(own)


def test_bars_are_asked_for_by_their_end() -> None:
    """The newest that began before an end, as many as asked for; another interval raises."""
    bars = Bars(100)
    bars.roll(10 * MINUTE)
    bars.roll(20 * MINUTE)
    assert [bar.start_ns // MINUTE for bar in bars.bars("1m", limit=3, end_ns=15 * MINUTE)] == [12, 13, 14]
    assert [bar.start_ns // MINUTE for bar in bars.bars("5m", limit=9, end_ns=15 * MINUTE)] == [10]
    with pytest.raises(KeyError):
        bars.bars("7m", limit=1)


def test_a_history_comes_before_the_first_trade() -> None:
    """Loaded minutes are bars of every interval, and the last close goes on."""
    exchange = perps()
    start = at("2026-05-13T00:00:00")
    exchange.load_bars(BTC, [flat(start + minute * MINUTE, 500 + minute) for minute in range(120)])
    exchange.step(start + 120 * MINUTE)
    hours = exchange.bars(BTC, "1h", limit=5)
    assert [(bar.open_ticks, bar.close_ticks) for bar in hours] == [(500, 559), (560, 619), (619, 619)]
    assert exchange.bars(BTC, "1h", limit=5, by=TriggerBy.MARK_PRICE) == hours


def test_a_leap_over_more_than_is_kept_fills_what_is_kept() -> None:
    """A year later the minutes that are kept are there, and no more."""
    bars = Bars(100)
    bars.add(0, 100, size_lots=1)
    bars.roll(365 * DAY)
    assert len(bars.bars("1m", limit=10**6)) == BARS_KEPT + 1


def test_the_ticker_looks_back_a_day() -> None:
    """A high of two days ago is forgotten, one of an hour ago is not."""
    exchange = perps()
    other = exchange.open_account("second maker", 0, is_house=True)
    for now, price in ((0, PRICE + 900), (2 * DAY, PRICE + 300), (2 * DAY + 60 * MINUTE, PRICE)):
        exchange.step(now)
        quote(exchange, price)
        buy(exchange, other, 2)
    ticker = exchange.ticker(BTC)
    assert (ticker.high_ticks, ticker.low_ticks, ticker.last_ticks) == (PRICE + 901, PRICE + 1, PRICE + 1)
    assert ticker.open_ticks == PRICE + 901, "the price a day ago"
    assert ticker.size_lots == 4
    assert ticker.quote_units == 2 * (2 * PRICE + 302) * TICK_LOT
    assert (ticker.mark_ticks, ticker.index_ticks) == (PRICE, PRICE)


def test_the_mark_has_its_own_bars() -> None:
    """Reference prices make mark bars, trades make the others."""
    exchange = perps()
    exchange.set_reference(BTC, index_ticks=PRICE, mark_ticks=PRICE + 40)
    sell(exchange, HOUSE, 1, PRICE)
    (mark,) = exchange.bars(BTC, "5m", limit=5, by=TriggerBy.MARK_PRICE)
    assert (mark.high_ticks, mark.size_lots) == (PRICE + 40, 0)


def test_every_interval_of_the_venue_is_there() -> None:
    """Those of REST and the one that only the socket has."""
    venue = "1m 3m 5m 15m 30m 1h 2h 4h 6h 8h 12h 1d 3d 1w 1M"
    assert list(INTERVALS_NS) == venue.split()
