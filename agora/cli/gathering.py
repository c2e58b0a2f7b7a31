"""`agora data record` and `agora data fetch`: recordings of what a venue tells."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agora.cli.shared import JSON_FLAG, show, warn
from agora.cli.urls import address_settings

if TYPE_CHECKING:
    from asyncio import Event

    from agora.venues.gathering import Place

Symbols = Annotated[list[str] | None, typer.Option("--symbol", help="Instrument; repeatable. BTCUSDT by default.")]
Symbol = Annotated[str, typer.Option("--symbol", help="Instrument.")]
Venue = Annotated[str, typer.Option(help="bitunix, or testnet (needs --testnet or --url).")]
Provider = Annotated[str, typer.Option(help="bitunix or ccxt:EXCHANGE.")]
Out = Annotated[Path, typer.Option(help="The recording to write (.parquet).")]
Url = Annotated[list[str] | None, typer.Option("--url", help="Address of the venue, NAME=URL; repeatable.")]
RestUrl = Annotated[str | None, typer.Option(help="Short for --url rest=….")]
WsUrl = Annotated[str | None, typer.Option(help="Short for both sockets.")]
Testnet = Annotated[str | None, typer.Option(metavar="FILE_OR_-", help="A testnet by its announce line.")]
Duration = Annotated[float, typer.Option(min=0.01, max=525_600, help="Minutes, fractions allowed.")]
Json = Annotated[bool, JSON_FLAG]


def register(data_app: typer.Typer) -> None:
    """Add the commands."""
    data_app.command("record", epilog="Example: agora data record --symbol BTCUSDT --duration 60 --out btc.parquet")(
        data_record
    )
    data_app.command(
        "fetch", epilog="Example: agora data fetch --interval 1m --start 2026-09-01 --end 2026-09-08 --out week.parquet"
    )(data_fetch)


def data_record(
    *,
    out: Out,
    venue: Venue = "bitunix",
    provider: Provider = "bitunix",
    symbol: Symbols = None,
    duration: Duration = 10.0,
    url: Url = None,
    rest_url: RestUrl = None,
    ws_url: WsUrl = None,
    testnet: Testnet = None,
    json: Json = False,
) -> None:
    """Record the live market: quotes, depth, trades, funding. Ctrl-C ends it early, with what there is."""
    import asyncio

    from agora.cli.recordings import gathered_facts, recording_text
    from agora.venues.gathering import record_live

    place = _place(provider, venue=venue, flags=address_settings(url or [], rest_url, ws_url), testnet=testnet)
    symbols = symbol or ["BTCUSDT"]
    warn(f"recording {', '.join(symbols)} for {duration:g} minutes …")

    work = record_live(place, symbols, out=out, duration_s=duration * 60, listening=_stop_on_signals)
    facts = gathered_facts(out, asyncio.run(work))
    show(facts, is_json=json, text=lambda: recording_text(facts))


def data_fetch(
    *,
    out: Out,
    start: Annotated[str, typer.Option(help="First moment, UTC: 2026-09-01 or 2026-09-01T12:00:00Z.")],
    end: Annotated[str | None, typer.Option(help="Last moment, UTC; now by default.")] = None,
    interval: Annotated[str, typer.Option(help="Bar length: 1m 5m 15m 30m 1h 4h 1d.")] = "1m",
    provider: Provider = "bitunix",
    symbol: Symbol = "BTCUSDT",
    venue: Venue = "bitunix",
    url: Url = None,
    rest_url: RestUrl = None,
    testnet: Testnet = None,
    json: Json = False,
) -> None:
    """Record bars and funding of the past, over REST."""
    import asyncio

    from agora.cli.recordings import gathered_facts, recording_text
    from agora.config import INTERVALS_S
    from agora.domain.errors import UsageFault
    from agora.domain.numbers import NS_PER_S
    from agora.venues.gathering import fetch_history

    place = _place(provider, venue=venue, flags=address_settings(url or [], rest_url, None), testnet=testnet)
    if interval not in INTERVALS_S:
        raise UsageFault(f"--interval {interval[:20]!r}: one of {', '.join(INTERVALS_S)}")
    interval_s = INTERVALS_S[interval]
    until_ns = place.clock.now_ns() if end is None else moment_ns(end)
    span_ns = tuple(ts_ns - ts_ns % (interval_s * NS_PER_S) for ts_ns in (moment_ns(start), until_ns))
    warn(f"fetching bars of {symbol} …")
    work = fetch_history(place, symbol, out=out, interval_s=interval_s, span_ns=(span_ns[0], span_ns[1]))
    facts = gathered_facts(out, asyncio.run(work))
    show(facts, is_json=json, text=lambda: recording_text(facts))


def moment_ns(text: str) -> int:
    """A UTC date or time in Unix ns; raises `UsageFault`."""
    from agora.domain.errors import UsageFault
    from agora.domain.numbers import NS_PER_S

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageFault(f"not a UTC date or time: {text[:40]!r} (2026-09-01 or 2026-09-01T12:00:00Z)") from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return int(aware.timestamp()) * NS_PER_S


def _stop_on_signals() -> Event:
    """Set when a person or the system wants the program to end: what was recorded until then is kept."""
    import asyncio
    import signal

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def _place(provider: str, *, venue: str, flags: dict[str, str], testnet: str | None) -> Place:
    """Where data are gathered, by the settings as for a run."""
    from msgspec.structs import replace

    from agora.cli.running import load_settings, terms_of
    from agora.domain.errors import UsageFault
    from agora.session.clock import PacedClock
    from agora.venue_access import access_of, check_terms, starts_own
    from agora.venues.gathering import Place
    from agora.venues.rest import Network

    config = load_settings({**flags, "run.venue": venue, "run.mode": "paper"}, [], file=None, profile=None)
    terms = terms_of(testnet=testnet)
    if starts_own(config, terms.announcement):
        raise UsageFault("--venue testnet needs --testnet or --url: data are gathered from a venue that is there")
    check_terms(config, terms)
    access = access_of(config, terms)
    bitunix = replace(config["bitunix"], rest_url=access.rest_url, public_ws=access.public_ws)
    return Place(provider=provider, bitunix=bitunix, settings=config["provider"], clock=PacedClock(), network=Network())
