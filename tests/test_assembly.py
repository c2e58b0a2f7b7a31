"""The assembly: what a run is made of, from settings or from its own first record."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agora import assembly
from agora.config import Config, load_config
from agora.domain.errors import Bug, StartFault, UsageFault
from agora.domain.events import MARKET_TYPES, Event, FeedConnected, MarketCandle, MarketTrade
from agora.domain.instruments import Instrument, known_instrument
from agora.domain.numbers import MONEY_SCALE, NS_PER_S
from agora.domain.orders import Order, OrderType, Purpose, Side, TimeInForce
from agora.session.access import Access, Seen
from agora.session.clock import ManualClock, PacedClock
from agora.venues.recording import Origin, write_recording
from agora.venues.remote import AbsentVenue, RemoteMachine

START_NS = 20_000 * 86_400 * NS_PER_S


def candle(number: int, symbol: str = "BTCUSDT", interval_s: int = 60) -> MarketCandle:
    """The n-th bar."""
    shape = {"open_ticks": 1_000, "high_ticks": 1_001, "low_ticks": 999, "close_ticks": 1_000, "volume_lots": number}
    return MarketCandle(
        ts_ns=START_NS + number * interval_s * NS_PER_S, instrument=symbol, interval_s=interval_s, **shape
    )


def trade(number: int, symbol: str = "BTCUSDT") -> MarketTrade:
    """The n-th print."""
    return MarketTrade(ts_ns=START_NS + number, instrument=symbol, price_ticks=1_000, size_lots=number, aggressor=1)


def recorded(path: Path, events: list[Any], *, interval_s: int = 60, symbols: tuple[str, ...] = ("BTCUSDT",)) -> Path:
    """A recording of those events."""
    origin = Origin(
        instruments=tuple(known_instrument(symbol) for symbol in symbols), interval_s=interval_s, sources=()
    )
    write_recording(path, events, origin=origin)
    return path


def settings(*pairs: str, data: Path | None = None, **flags: Any) -> Config:
    """The tree of a run, on a recording if there is one."""
    named = {"run.venue": "local"} | {f"run.{name}": value for name, value in flags.items()}
    if data is not None:
        named |= {"run.venue": "recorded", "run.data": [str(data)]}
    return load_config({}, named, list(pairs))


def test_a_run_without_data_lasts_ten_minutes_in_real_time() -> None:
    """The local market has no end: ten minutes unless told; bars of five seconds; a clock that runs."""
    parts = assembly.build_parts(settings(), "tag")
    assert (parts.duration_ns, parts.interval_s, parts.is_paced) == (600 * NS_PER_S, 5, True)
    assert isinstance(assembly.build_clock(parts), PacedClock)
    assert assembly.build_parts(settings(duration_minutes=0.5), "tag").duration_ns == 30 * NS_PER_S


def test_a_recording_is_played_whole_and_at_once(tmp_path: Path) -> None:
    """Its candles make the bars, its first event the time, its clock is told what time it is."""
    data = recorded(tmp_path / "a.parquet", [candle(1), candle(2)])
    parts = assembly.build_parts(settings(data=data), "tag")
    assert (parts.duration_ns, parts.interval_s, parts.is_paced) == (0, 60, False)
    assert parts.source is not None
    assert parts.start_ns == parts.source.first_ts_ns
    clock = assembly.build_clock(parts)
    assert isinstance(clock, ManualClock)
    assert clock.now_ns() == parts.start_ns
    assert assembly.build_parts(settings(data=data, speed="10"), "tag").is_paced


@pytest.mark.parametrize(
    "recorded_s, interval, bars_s",
    [(60, "auto", 60), (60, "5m", 300), (60, "1m", 60), (0, "auto", 5), (0, "1s", 1), (300, "15m", 900)],
)
def test_bars_are_as_long_as_asked_or_as_recorded(tmp_path: Path, recorded_s: int, interval: str, bars_s: int) -> None:
    """Ticks make any bar; candles make themselves and multiples."""
    events = [candle(1, interval_s=recorded_s)] if recorded_s else [trade(1)]
    data = recorded(tmp_path / "a.parquet", events, interval_s=recorded_s)
    assert assembly.build_parts(settings(data=data, interval=interval), "t").interval_s == bars_s


@pytest.mark.parametrize("recorded_s, interval", [(60, "30s"), (60, "1s"), (300, "1m"), (3_600, "5m")])
def test_bars_that_the_recording_cannot_make_are_refused(tmp_path: Path, recorded_s: int, interval: str) -> None:
    """Before anything starts, with both lengths."""
    data = recorded(tmp_path / "a.parquet", [candle(1, interval_s=recorded_s)], interval_s=recorded_s)
    with pytest.raises(UsageFault, match=rf"--interval {interval}.*candles of {recorded_s} s"):
        assembly.build_parts(settings(data=data, interval=interval), "t")


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    """The path, as it was looked for."""
    with pytest.raises(UsageFault, match=r"no such data file: .*none\.parquet"):
        assembly.build_parts(settings(data=tmp_path / "none.parquet"), "t")


@pytest.mark.requirement("B54")
def test_a_symbol_of_nobody_names_the_known_ones() -> None:
    """Also on the market that needs no data."""
    with pytest.raises(UsageFault, match="BTCUSDT"):
        assembly.build_parts(settings(symbol=["DOGEUSDT"]), "t")


def test_a_recording_of_one_symbol_needs_no_flag(tmp_path: Path) -> None:
    """What is inside is traded, whatever the default symbol is; asking for another is refused."""
    data = recorded(tmp_path / "a.parquet", [candle(1, "ETHUSDT")], symbols=("ETHUSDT",))
    assert list(assembly.build_parts(settings(data=data), "t").instruments) == ["ETHUSDT"]
    with pytest.raises(UsageFault, match="ETHUSDT"):
        assembly.build_parts(settings(data=data, symbol=["BTCUSDT"]), "t")


def fed(parts: assembly.Parts, *, after: int = 0) -> list[Event]:
    """What the feed of a run hands over."""

    async def take() -> list[Event]:
        clock = assembly.build_clock(parts)
        feed = assembly.build_feed(parts, clock, after=after)
        found = []
        while (event := await feed.next(2**62)) is not None:
            found.append(event)
        return found

    return asyncio.run(take())


def test_a_run_hears_of_its_own_instrument_only(tmp_path: Path) -> None:
    """Of a recording with two, the one asked for; a resumed feed counts only what it handed over."""
    events = [event for n in range(1, 6) for event in (candle(n), candle(n, "ETHUSDT"))]
    data = recorded(tmp_path / "a.parquet", events, symbols=("BTCUSDT", "ETHUSDT"))
    parts = assembly.build_parts(settings(data=data, symbol=["ETHUSDT"]), "t")
    heard = fed(parts)
    assert isinstance(heard[0], FeedConnected)
    assert heard[0].period_s == 60
    mine = [event for event in heard if type(event) in MARKET_TYPES]
    assert [event.instrument for event in mine] == ["ETHUSDT"] * 5  # type: ignore[union-attr]
    for after in range(6):
        rest = [event for event in fed(parts, after=after) if type(event) in MARKET_TYPES]
        assert rest == mine[after:]
        assert assembly.next_market_event(parts, after) == (mine[after] if after < 5 else None)


def test_a_run_is_rebuilt_from_its_first_record() -> None:
    """Instruments, interval and duration are those recorded, even if the built-in ones change tomorrow."""
    config = settings("run.seed=9")
    parts = assembly.build_parts(config, "cafe0123")
    odd = msgspec.structs.replace(known_instrument("BTCUSDT"), taker_fee_ppm=999)
    parts.instruments = {"BTCUSDT": odd}
    record = assembly.started(parts, run_id="20260101T000000Z-local-trend-cafe0123", now_ns=START_NS)
    record = msgspec.json.decode(msgspec.json.encode(record), type=type(record))
    again = assembly.rebuild(config, record)
    assert again.instruments == {"BTCUSDT": odd}
    assert isinstance(again.instruments["BTCUSDT"], Instrument)
    assert again.desk.rules.run_tag == "cafe0123"
    assert (again.interval_s, again.duration_ns, again.start_ns) == (5, 600 * NS_PER_S, START_NS)
    assert again.machine.account(0).cash_units == 10_000 * MONEY_SCALE


def test_a_run_is_not_rebuilt_from_other_settings() -> None:
    """A config.json that was edited after the start is refused: its decisions would not be the recorded ones."""
    parts = assembly.build_parts(settings(), "t")
    record = assembly.started(parts, run_id="r-t", now_ns=START_NS)
    with pytest.raises(StartFault, match="hash differs"):
        assembly.rebuild(settings("run.seed=2"), record)


def test_stored_settings_give_the_same_tree() -> None:
    """What config.json holds is enough: values, not profiles or sources, decide."""
    config = load_config({}, {}, ["run.seed=9", "risk.leverage_max=2"], profile="aggressive")
    stored = msgspec.json.decode(msgspec.json.encode({"values": config.values()}))
    assert assembly.config_of(stored).config_hash() == config.config_hash()


def test_run_tags_are_random_and_end_a_run_id() -> None:
    """Two runs of an account never share client ids."""
    tags = {assembly.new_run_tag() for _ in range(100)}
    assert len(tags) == 100
    assert assembly.run_tag_of("20260101T000000Z-local-trend-" + min(tags)) == min(tags)


@pytest.mark.parametrize(
    "model, words",
    [
        ("uniform", "uniform 50–500 ms"),
        ("fixed", "fixed 50 ms"),
        ("lognormal", "log-normal, median 50 ms, sigma 0.5"),
    ],
)
def test_the_assumptions_are_sentences_with_their_figures(model: str, words: str) -> None:
    """Latency, fees, spread, volume and queue: what the report must say about paper fills."""
    lines = assembly.assumptions(assembly.build_parts(settings(f"paper.latency_model={model}"), "t"))
    text = "\n".join(lines)
    for part in (words, "maker 0.02 %, taker 0.06 %", "± 5 bps", "at most 10 %", "a touch is not a fill"):
        assert part in text


def test_the_local_feed_of_the_assembly_is_the_seeds() -> None:
    """The seed of the settings is the seed of the market."""

    def first(seed: int) -> list[object]:
        parts = assembly.build_parts(settings(f"run.seed={seed}", "local.history_bars=0"), "t")
        after = [assembly.next_market_event(parts, number) for number in range(5)]
        return [msgspec.structs.replace(event, ts_ns=0) for event in after if event is not None]

    assert first(3) == first(3)
    assert all(one != other for one, other in itertools.pairwise([first(3), first(4), first(5)]))


# Several traders and instruments.


def test_each_trader_has_its_label_its_bars_and_its_weight() -> None:
    """Two of one kind are two: their names in all records, the memories in the snapshot."""
    config = settings(trader=["trend", "ema_cross@15s=0.5", "ema_cross"], symbol=["BTCUSDT", "ETHUSDT"])
    desk = assembly.build_parts(config, "tag").desk
    assert [trader.name for trader in desk.rules.traders] == ["trend", "ema_cross@15s", "ema_cross"]
    assert (desk.trader_intervals_s, desk.weights_ppm) == ((5, 15, 5), (1_000_000, 500_000, 1_000_000))
    assert desk.intervals_s == (5, 15)
    assert list(desk.snapshot().traders) == ["trend", "ema_cross@15s", "ema_cross"]
    assert sorted(desk.rules.instruments) == ["BTCUSDT", "ETHUSDT"]


def test_a_trader_may_not_want_bars_that_the_candles_do_not_make(tmp_path: Path) -> None:
    """As the run itself may not; longer ones that they do make are built."""
    data = recorded(tmp_path / "a.parquet", [candle(1), candle(2)])
    for trader, interval in (("trend@30s", "auto"), ("trend@1s", "1m"), ("trend", "30s")):
        with pytest.raises(UsageFault, match="candles of 60 s, which do not make it"):
            assembly.build_parts(settings(data=data, trader=[trader], interval=interval), "tag")
    desk = assembly.build_parts(settings(data=data, trader=["trend@5m", "ema_cross"]), "tag").desk
    assert (desk.rules.interval_s, desk.trader_intervals_s) == (60, (300, 60))


def test_a_run_keeps_one_currency() -> None:
    """Instruments that are quoted in others are refused before anything starts."""
    with pytest.raises(UsageFault, match="one currency"):
        assembly.build_parts(settings(symbol=["BTCUSDT", "ETHUSD"]), "tag")


def test_a_rebuilt_desk_has_the_same_traders() -> None:
    """From the first record and the settings, as a replay does it."""
    config = settings(trader=["trend@1m=0.25", "ema_cross"], symbol=["ETHUSDT", "BTCUSDT"])
    parts = assembly.build_parts(config, "tag")
    record = assembly.started(parts, run_id="x-tag", now_ns=START_NS)
    rules = assembly.rebuild(config, record).desk.rules
    assert (rules.trader_intervals_s, rules.weights_ppm) == ((60, 5), (250_000, 1_000_000))
    assert list(rules.instruments) == ["ETHUSDT", "BTCUSDT"]


def test_the_local_venue_has_a_market_for_each_instrument() -> None:
    """One feed: both are heard, and a resumed run's source names the next event."""
    parts = assembly.build_parts(settings(symbol=["BTCUSDT", "ETHUSDT"]), "tag")
    clock = ManualClock(START_NS)
    feed = assembly.build_feed(parts, clock)

    async def heard(count: int) -> list[Event]:
        return [event for _ in range(count) if (event := await feed.next(2**62)) is not None]

    events = asyncio.run(heard(600))
    assert {event.instrument for event in events if type(event) in MARKET_TYPES} == {"BTCUSDT", "ETHUSDT"}  # type: ignore[union-attr]
    live = [event for event in events if type(event) in MARKET_TYPES and not getattr(event, "is_history", False)]
    upcoming = assembly.next_market_event(parts, 7)
    assert upcoming == msgspec.structs.replace(live[7], ts_ns=0)


@pytest.mark.parametrize(
    "pairs, is_live",
    [
        (("run.venue=testnet",), True),
        (("run.venue=testnet:bitunix", "run.provider=bitunix"), True),
        (("run.venue=testnet", "run.mode=paper"), False),
        (("run.venue=testnet", "run.fallback=local"), False),
        (("run.venue=testnet", "run.provider=ccxt:kraken"), False),
        (("run.venue=bitunix",), False),
        (("run.venue=bitunix", "run.mode=live"), True),
        (("run.venue=local",), False),
    ],
)
def test_whether_orders_leave_the_house_is_decided_once(pairs: tuple[str, ...], is_live: bool) -> None:
    """On a testnet unless other data or a fallback are asked for, elsewhere when it is said; the machine follows."""
    config = load_config({}, {}, list(pairs))
    assert config["run"].is_live is is_live
    assert config["run"].resolved_mode == ("live" if is_live else "paper")
    machine = assembly.build_machine(config, {"BTCUSDT": known_instrument("BTCUSDT")})
    assert isinstance(machine, RemoteMachine) is is_live


AN_ORDER = Order(
    client_id="a",
    number=1,
    trader="t",
    instrument="BTCUSDT",
    side=Side.BUY,
    type=OrderType.MARKET,
    time_in_force=TimeInForce.IOC,
    purpose=Purpose.ENTRY,
    size_lots=1,
)


def seen(**facts: Any) -> Seen:
    """What a venue told before a run."""
    access = Access(rest_url="http://127.0.0.1:1", public_ws="ws://127.0.0.1:1", private_ws="ws://127.0.0.1:1")
    return Seen(access=access, instruments={"BTCUSDT": known_instrument("BTCUSDT")}, **facts)


def test_a_live_run_begins_with_what_the_account_holds() -> None:
    """Not with what the settings say; the journal keeps it, with the contracts as the venue listed them."""
    config = settings(venue="testnet")
    contract = msgspec.structs.replace(known_instrument("BTCUSDT"), lots_min=7)
    found = msgspec.structs.replace(seen(equity_units=4_321 * MONEY_SCALE), instruments={"BTCUSDT": contract})
    parts = assembly.build_parts(config, "cafe0123", found)
    record = assembly.started(parts, run_id="r-cafe0123", now_ns=START_NS)
    assert (record.mode, record.equity_units) == ("live", 4_321 * MONEY_SCALE)
    again = assembly.rebuild(config, record)
    assert again.instruments["BTCUSDT"].lots_min == 7
    assert again.equity_units == 4_321 * MONEY_SCALE
    assert "those of the venue's account" in assembly.assumptions(again)[0]


def test_a_venue_says_nothing_twice() -> None:
    """What a feed of a venue would have said next cannot be asked for after a crash."""
    for mode in ("paper", "live"):
        parts = assembly.build_parts(settings(venue="testnet", mode=mode), "t", seen())
        assert assembly.next_market_event(parts, 0) is None


def test_a_run_that_is_only_looked_at_goes_to_no_venue() -> None:
    """Without a way there nothing can be sent; a reset of a stopped run needs nothing else."""
    parts = assembly.build_parts(settings(venue="testnet"), "t", seen())
    parts.access = None
    venue = assembly.build_venue(parts, PacedClock())
    assert isinstance(venue, AbsentVenue)
    venue.change("a", 0, None)
    assert asyncio.run(venue.receive(0, floor_ns=0)) == ()
    with pytest.raises(Bug, match="sent to a venue"):
        venue.send(AN_ORDER, 0)


def test_a_venues_own_time_is_the_runs_clock() -> None:
    """Where no wall shows it; a run that was faster than the wall does not go back when it is resumed."""
    clock = ManualClock(START_NS)
    parts = assembly.build_parts(settings(venue="testnet", speed="5"), "t", seen(clock=clock))
    assert assembly.build_clock(parts) is clock
    local = assembly.build_parts(settings(speed="10"), "t")
    ahead_ns = PacedClock().now_ns() + 3_600 * NS_PER_S
    assert assembly.build_clock(local, now_ns=ahead_ns).now_ns() >= ahead_ns
