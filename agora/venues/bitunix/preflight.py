"""Before a live run: is the account what the run takes it for? Facts to show, problems that forbid a start."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agora.domain.errors import StartFault, Transient
from agora.domain.instruments import Instrument
from agora.domain.numbers import PPM, money_text
from agora.venues.bitunix.account import wallet_units
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.wire import AccountRow, LeverageRow, Malformed, PairRow
from agora.venues.rest import AuthRefused, Refused

POSITION_MODE = "ONE_WAY"
HOUR_S = 3_600


class Preflight(msgspec.Struct, kw_only=True):
    """What was found. `facts` are in the order of the questions; a run starts only without `problems`.

    Those of them that `prepare` mends are also in `settable`; it can while nothing is open.
    """

    facts: dict[str, str] = {}
    problems: list[str] = []
    settable: list[str] = []
    cash_units: int = 0
    has_open: bool = False

    def check(self, name: str, value: str, problem: str = "", *, is_settable: bool = False) -> None:
        """Note a fact, and what is wrong with it."""
        self.facts[name] = value
        if problem:
            self.problems.append(problem)
        if problem and is_settable:
            self.settable.append(problem)

    def problems_left(self, settings: BitunixSettings) -> list[str]:
        """The problems that a start of a run would meet, after it has set what it may."""
        may_set = settings.set_account and not self.has_open
        return [problem for problem in self.problems if not (may_set and problem in self.settable)]


async def look(client: BitunixClient, symbols: Sequence[str], settings: BitunixSettings) -> Preflight:
    """Ask the venue everything a live run depends on. Reads only."""
    found = Preflight()
    try:
        await _look_at_symbols(client, symbols, settings=settings, found=found)
        await _look_at_account(client, symbols, settings=settings, found=found)
    except AuthRefused as fault:
        found.check("keys", "refused", f"the venue refuses the keys: {fault}")
    except (Refused, Transient, Malformed) as fault:
        found.check("venue", "cannot be read", f"the venue cannot be read: {fault}")
    _look_at_clock(client, settings, found)
    return found


async def prepare(client: BitunixClient, symbols: Sequence[str], settings: BitunixSettings) -> list[str]:
    """Set position mode, margin mode and leverage where they differ and nothing is open; returns what was changed.

    Raises `StartFault` when the venue refuses or cannot be asked.
    """
    changed: list[str] = []
    try:
        if await client.positions() or await client.pending_orders():
            return changed
        if (await client.account()).position_mode != POSITION_MODE:
            await client.change_position_mode(POSITION_MODE)
            changed.append(f"position mode {POSITION_MODE}")
        for symbol in symbols:
            row = await client.leverage_mode(symbol)
            if row.margin_mode != settings.margin_mode:
                await client.change_margin_mode(symbol, settings.margin_mode)
                changed.append(f"{symbol} margin mode {settings.margin_mode}")
            if row.leverage != settings.leverage:
                await client.change_leverage(symbol, settings.leverage)
                changed.append(f"{symbol} leverage {settings.leverage}x")
    except (Refused, Transient, Malformed) as fault:
        raise StartFault(f"the account could not be set up: {fault}") from fault
    return changed


async def instruments_of(
    client: BitunixClient, symbols: Sequence[str], settings: BitunixSettings
) -> dict[str, Instrument]:
    """The contracts as the venue lists them; raises `StartFault` for one that it does not list, or not usably."""
    try:
        pairs = {pair.symbol: pair for pair in await client.trading_pairs(symbols)}
        missing = sorted(set(symbols) - set(pairs))
        if missing:
            raise StartFault(f"the venue does not list {', '.join(missing)}")
        return {symbol: await _instrument(client, pairs[symbol], settings) for symbol in symbols}
    except (Refused, Transient, Malformed) as fault:
        raise StartFault(f"the venue's contracts cannot be read: {fault}") from fault


async def _instrument(client: BitunixClient, pair: PairRow, settings: BitunixSettings) -> Instrument:
    tiers = await client.position_tiers(pair.symbol)
    funding = await client.funding_rate(pair.symbol)
    lot_exponent = pair.base_precision
    lots_max = min(pair.max_limit_order_volume, pair.max_market_order_volume)
    try:
        return Instrument(
            symbol=pair.symbol,
            base=pair.base,
            quote=pair.quote,
            tick_size=_step(pair.quote_precision),
            lot_size=_step(lot_exponent),
            lots_min=max(1, int(pair.min_trade_volume.scaleb(lot_exponent))),
            lots_max=max(1, int(lots_max.scaleb(lot_exponent))),
            maker_fee_ppm=settings.maker_fee_ppm,
            taker_fee_ppm=settings.taker_fee_ppm,
            leverage_max=pair.max_leverage,
            maintenance_ppm=round(tiers[0].maintenance_margin_rate * PPM) if tiers else 5_000,
            funding_interval_s=funding.funding_interval_h * HOUR_S,
        )
    except ValueError as fault:
        raise StartFault(f"{pair.symbol} cannot be traded exactly: {fault}") from fault


def _step(decimals: int) -> str:
    return "1" if decimals == 0 else f"0.{'0' * (decimals - 1)}1"


def _look_at_clock(client: BitunixClient, settings: BitunixSettings, found: Preflight) -> None:
    offset_s = client.clock_offset_ms / 1_000
    is_off = abs(offset_s) > settings.clock_skew_s_max
    problem = f"the venue's clock is {offset_s:+.1f} s off; at most {settings.clock_skew_s_max:g} s are signed with"
    found.check("clock", f"{offset_s:+.1f} s", problem if is_off else "")


async def _look_at_symbols(
    client: BitunixClient, symbols: Sequence[str], *, settings: BitunixSettings, found: Preflight
) -> None:
    pairs = {pair.symbol: pair for pair in await client.trading_pairs(symbols)}
    for symbol in symbols:
        pair = pairs.get(symbol)
        if pair is None:
            found.check(f"{symbol}", "unknown", f"the venue does not list {symbol}")
            continue
        problem = ""
        if pair.status != "OPEN" or not pair.is_api_supported:
            problem = f"{symbol} cannot be traded over the API: {pair.status}"
        elif not pair.min_leverage <= settings.leverage <= pair.max_leverage:
            problem = f"{symbol} has leverage {pair.min_leverage} to {pair.max_leverage}, not {settings.leverage}"
        found.check(f"{symbol}", f"{pair.status}, up to {pair.max_leverage}x", problem)
        tiers = await client.position_tiers(symbol)
        fitting = [tier for tier in tiers if tier.leverage >= settings.leverage]
        text = f"up to {fitting[-1].end_value:f} at {settings.leverage}x" if fitting else "none"
        found.check(f"{symbol} tier", text, "" if fitting else f"{symbol}: no tier allows {settings.leverage}x")


async def _look_at_account(
    client: BitunixClient, symbols: Sequence[str], *, settings: BitunixSettings, found: Preflight
) -> None:
    account = await client.account()
    found.check("keys", "accepted")
    _note_account(account, settings, found)
    for symbol in symbols:
        _note_leverage(await client.leverage_mode(symbol), settings, found)
    positions = [row for row in await client.positions() if row.qty]
    orders = await client.pending_orders()
    found.has_open = bool(positions or orders)
    for row in positions:
        problem = f"there is a position of {row.qty:f} in {row.symbol}: close it first" if row.symbol in symbols else ""
        found.check(f"position {row.symbol}", f"{row.qty:f}", problem)
    for symbol in symbols:
        count = sum(row.symbol == symbol for row in orders)
        problem = f"there are {count} open orders in {symbol}: cancel them first" if count else ""
        found.check(f"open orders {symbol}", str(count), problem)


def _note_account(account: AccountRow, settings: BitunixSettings, found: Preflight) -> None:
    found.cash_units = wallet_units(account)
    balance = f"{money_text(found.cash_units)} {settings.margin_coin}"
    found.check("balance", balance, "" if found.cash_units > 0 else f"the account is empty: {balance}")
    mode = account.position_mode
    problem = f"position mode is {mode}; the run needs {POSITION_MODE}" if mode != POSITION_MODE else ""
    found.check("position mode", mode, problem, is_settable=True)


def _note_leverage(row: LeverageRow, settings: BitunixSettings, found: Preflight) -> None:
    wanted = (settings.margin_mode, settings.leverage)
    problem = f"{row.symbol} has {row.margin_mode} {row.leverage}x; the settings say {wanted[0]} {wanted[1]}x"
    is_wanted = (row.margin_mode, row.leverage) == wanted
    found.check(
        f"{row.symbol} margin",
        f"{row.margin_mode} {row.leverage}x",
        "" if is_wanted else problem,
        is_settable=True,
    )
