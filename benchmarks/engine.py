"""Times the session engine: real or seeded market data through the runner, journal on, durable orders."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agora import assembly
from agora.domain.events import MARKET_TYPES, Event
from agora.domain.instruments import known_instrument
from agora.engine import step as engine_step
from agora.journal.disk import Disk
from agora.journal.log import open_log
from agora.journal.verify import verify_chain
from agora.kernels import fills, indicators
from agora.report.collector import Collector
from agora.session.clock import ManualClock
from agora.session.lifetime import Cast, live
from agora.session.runner import Runner
from agora.venues.importers import import_files
from agora.venues.local import TICK_NS, LocalMarket, LocalSettings, history, local_events
from agora.venues.recording import Origin, write_recording
from benchmarks.silent import NEVER_POLL_NS, OPEN_LIMITS, Silent

Median = Callable[[Callable[[], float]], float]
ROOT = Path(__file__).resolve().parent.parent


class _Timed:
    """Measures each step."""

    def __init__(self) -> None:
        self.step_ns: list[int] = []

    def __call__(self, desk: Any, event: Event) -> Any:
        start = time.perf_counter_ns()
        effects = engine_step.step(desk, event)
        self.step_ns.append(time.perf_counter_ns() - start)
        return effects


def data_folder() -> Path:
    """Where real recordings lie, if they do."""
    return Path(os.environ.get("AGORA_TEST_DATA") or ROOT.parent / "shared" / "data")


def recordings(scratch: Path) -> dict[str, Path]:
    """A tick and a candle recording: from AGORA_TEST_DATA where it is, else seeded."""
    data = data_folder()
    ticks, candles = scratch / "ticks.parquet", scratch / "candles.parquet"
    if data.is_dir():
        import_files([data / "ticks" / "binance_usdm_btcusdt_20240808_2354.wsfeed.gz"], out=ticks)
        perps = sorted((data / "candles").glob("binance_perp_BTCUSDT_1m_*.feather"))
        funding = data / "funding" / "binance_perp_BTCUSDT_8h_20230101_20251206.feather"
        import_files([*perps, funding], out=candles)
    else:
        seeded_recordings(ticks, candles)
    return {"ticks": ticks, "candles": candles}


def seeded_recordings(ticks: Path, candles: Path) -> None:
    """Recordings of the local market, where no real ones are at hand."""
    instrument = known_instrument("BTCUSDT")
    start_ns = 1_700_000_000_000_000_000
    settings = LocalSettings(history_bars=20_000)
    stream = itertools.islice(local_events(settings, instrument, 1), 90_000)
    write_recording(
        ticks,
        (msgspec.structs.replace(event, ts_ns=start_ns + tick * TICK_NS) for tick, event in stream),
        origin=Origin(instruments=(instrument,), interval_s=0, sources=()),
    )
    market = LocalMarket(settings=settings, instrument=instrument, seed=1, interval_s=60)
    bars, _ = history(market, end_ns=start_ns)
    write_recording(
        candles,
        (msgspec.structs.replace(bar, is_history=False) for bar in bars),
        origin=Origin(instruments=(instrument,), interval_s=60, sources=()),
    )


def run_once(scratch: Path, data: Path, pairs: list[str]) -> dict[str, float]:
    """One run over a recording through the real runner, journal and disk; wall and CPU seconds and counts."""
    pairs = [*OPEN_LIMITS, "run.venue=recorded", f"run.data={data}", *pairs]
    parts = assembly.build_parts(assembly.load_config({}, {}, pairs), assembly.new_run_tag())
    clock = assembly.build_clock(parts)
    assert isinstance(clock, ManualClock)
    folder = scratch / f"run-{assembly.new_run_tag()}"
    folder.mkdir()
    log = open_log(Disk(folder), wall_ns=clock.wall_ns)
    runner = Runner(parts.desk, assembly.build_venue(parts, clock), journal=log, clock=clock)
    runner.observers = [Collector()]
    silent = Silent()
    cast = Cast(
        runner=runner,
        controls=silent,
        keeper=silent,
        first=assembly.started(parts, run_id="bench-00000000", now_ns=clock.now_ns()),
        restored=None,
        poll_ns=NEVER_POLL_NS,
    )
    wall, cpu = time.perf_counter(), time.thread_time()
    asyncio.run(live(cast))
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    counters = parts.desk.state.counters
    return {
        "wall_s": wall,
        "loop_cpu_s": cpu,
        "events": counters.market_events,
        "orders": counters.intended,
        "trades": counters.trades,
        "records": log.records,
        "folder": str(folder),  # type: ignore[dict-item]
    }


def _rates(scratch: Path, data: Path, pairs: list[str], median: Median) -> dict[str, Any]:
    run_once(scratch, data, pairs)
    last: dict[str, Any] = {}

    def rate() -> float:
        last.update(run_once(scratch, data, pairs))
        return last["events"] / last["wall_s"]

    return {
        "events_per_s": round(median(rate)),
        "events_per_loop_cpu_s": round(last["events"] / last["loop_cpu_s"]),
        "events": last["events"],
        "orders": last["orders"],
        "trades": last["trades"],
    }


def _step_percentiles(data: Path, pairs: list[str]) -> dict[str, float]:
    """Microseconds of single steps (p50, p99) with the trader asked at every bar."""
    pairs = [*OPEN_LIMITS, "run.venue=recorded", f"run.data={data}", *pairs]
    parts = assembly.build_parts(assembly.load_config({}, {}, pairs), "00000000")
    timed = _Timed()
    timed(parts.desk, assembly.started(parts, run_id="bench-00000000", now_ns=parts.start_ns or 0))
    assert parts.source is not None
    for event in parts.source.events():
        answers = parts.machine.on_market(event) if type(event) in MARKET_TYPES else ()
        for each in (*answers, event):
            timed(parts.desk, each)
    ordered = sorted(timed.step_ns)
    return {
        "p50_us": round(ordered[len(ordered) // 2] / 1000, 2),
        "p99_us": round(ordered[len(ordered) * 99 // 100] / 1000, 2),
        "max_us": round(ordered[-1] / 1000, 1),
    }


def engine_figures(scratch: Path, median: Median) -> dict[str, Any]:
    """Market events per second of the whole session engine, and single steps."""
    fills.warm_up()
    indicators.warm_up()
    data = recordings(scratch)
    lively = ["trend.cost_risk_max=20", "trend.reward_risk_min=0"]
    return {
        "source": "recorded" if data_folder().is_dir() else "seeded",
        "ticks_1s_bars": _rates(scratch, data["ticks"], ["run.interval=1s", *lively], median),
        "candles_trend": _rates(scratch, data["candles"], [], median),
        "candles_trend_many_orders": _rates(scratch, data["candles"], lively, median),
        "step_ticks": _step_percentiles(data["ticks"], ["run.interval=1s"]),
        "step_candles": _step_percentiles(data["candles"], []),
    }


def journal_figures(scratch: Path, median: Median) -> dict[str, Any]:
    """Records verified per second."""
    data = scratch / "ticks.parquet"
    made = run_once(scratch, data, ["run.interval=1s"])

    def rate() -> float:
        start = time.perf_counter()
        report = verify_chain(Disk(Path(str(made["folder"]))))
        assert report.fault is None
        return report.total / (time.perf_counter() - start)

    return {"records": made["records"], "verify_records_per_s": round(median(rate))}
