"""The market of the loopback Bitunix: an exchange, its accounts, the flow of others, and time. Knows no protocol.

Everything that happens is told to listeners in order, by `publish`; whoever commands the exchange calls it afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import msgspec

from agora.domain.dice import dice_of
from agora.domain.errors import UsageFault
from agora.domain.instruments import KNOWN_INSTRUMENTS, Instrument
from agora.domain.numbers import MONEY_SCALE, NS_PER_S, Rounding, money_units
from agora.domain.orders import Side
from agora.engine.ports import Clock
from agora.exchange.perp import PerpExchange
from agora.exchange.perp_bars import INTERVALS_NS
from agora.exchange.perp_reasons import PerpReason
from agora.exchange.perp_records import Bar, Change, FundingSettled, PerpOrder, PublicTrade, TriggerBy
from agora.exchange.perp_rules import PerpListing, PerpRules, PerpTier
from agora.testnet.bitunix_clock import VenueClock
from agora.testnet.bitunix_flow import Flow, House
from agora.testnet.bitunix_prices import START_PRICES, past_of, prices_of
from agora.testnet.bitunix_seconds import SECONDS_KEPT, SHORT_INTERVALS_S, Seconds
from agora.testnet.bitunix_settings import BitunixTestnetSettings
from agora.venues.local import TICK_NS

# Ten billion: a market maker that never runs dry.
HOUSE_UNITS = 10**10 * MONEY_SCALE
# Accounts at once: the two of the house, the insurance, and those of many tests.
ACCOUNTS_MAX = 1_024
# A process that was held up catches up with the reference at most this far at once, or a debugger's pause would
# become an hour of walking.
TICKS_AT_ONCE_MAX = 3_000
KEY_DIGITS = 32
# What the venue lists differs from what recordings of other venues have: steps by the reference, section 12.
LOT_SIZES = {"BTCUSDT": "0.0001"}
# Largest order, in base coins (limit, market), as the documentation's example has it.
LIMIT_COINS_MAX, MARKET_COINS_MAX = 100_000, 50_000
# The documentation's first two steps, then the pace of the venue's older ladder: value, leverage, maintenance (ppm).
TIERS = (
    (50_000, 125, 4_000), (200_000, 100, 5_000), (2_500_000, 50, 10_000), (6_000_000, 20, 25_000),
    (12_000_000, 10, 50_000), (60_000_000, 5, 100_000), (120_000_000, 3, 150_000), (300_000_000, 2, 250_000),
    (600_000_000, 1, 500_000),
)  # fmt: skip
# Only the largest contract goes to 125x.
LEVERAGES_MAX = {"BTCUSDT": 125}
LEVERAGE_MAX, LEVERAGE_DEFAULT = 100, 20


class TestAccount(msgspec.Struct, kw_only=True):
    """An account as a client knows it. Its secret opens nothing but this testnet."""

    __test__: ClassVar[bool] = False  # no test of pytest's, whatever its name begins with

    number: int
    api_key: str
    api_secret: str
    is_revoked: bool = False


class Funding(msgspec.Struct, kw_only=True):
    """Funding of a symbol: the rate to come and when, and what was settled last (time 0: nothing yet)."""

    rate_ppb: int
    next_ns: int
    settled_ppb: int
    settled_ns: int = 0


class World:
    """All that is at the venue. `skew_ns` is how far the times it shows are ahead of its own."""

    def __init__(self, settings: BitunixTestnetSettings, clock: Clock) -> None:
        self.settings = settings
        self.clock = VenueClock(clock, settings.speed)
        self.symbols = settings.symbols
        self.skew_ns = 0
        self.is_frozen = False
        self.may_settle_funding: Callable[[str], bool] = lambda _: True
        self.hooks: list[Callable[[], None]] = []
        self.accounts: dict[str, TestAccount] = {}
        self._listeners: list[Callable[[Sequence[Change]], None]] = []
        self.exchange = PerpExchange(_rules(settings))
        self._begin()

    def _begin(self) -> None:
        """The market as it is found: a past, quotes, accounts."""
        exchange, settings = self.exchange, self.settings
        self._started_ns = self._ticked_ns = now_ns = self.clock.now_ns()
        exchange.advance(now_ns)
        house = House(
            maker=exchange.open_account("maker", HOUSE_UNITS, is_house=True),
            taker=exchange.open_account("taker", HOUSE_UNITS, is_house=True),
        )
        self._flows: dict[str, Flow] = {}
        self._seconds: dict[str, Seconds] = {}
        self._fundings: dict[str, Funding] = {}
        prices = prices_of(settings)
        for symbol in self.symbols:
            listing = exchange.listing(symbol)
            past = past_of(
                prices[symbol], listing.instrument, settings=settings, start_ns=now_ns, seconds_kept=SECONDS_KEPT
            )
            exchange.load_bars(symbol, past.minutes)
            first_ticks = listing.instrument.price_ticks(prices[symbol].move(0), Rounding.NEAREST)
            self._seconds[symbol] = Seconds(past.seconds, first_ticks)
            self._flows[symbol] = Flow(exchange, symbol, settings=settings, house=house, price=prices[symbol])
            interval_ns = listing.funding_interval_s * NS_PER_S
            self._fundings[symbol] = Funding(
                rate_ppb=settings.funding_rate_ppb,
                next_ns=now_ns - now_ns % interval_ns + interval_ns,
                settled_ppb=settings.funding_rate_ppb,
            )
        self._act(1)
        for _ in range(settings.accounts):
            self.open_account()

    # Time.

    def now_ns(self) -> int:
        """The venue's time."""
        return self.clock.now_ns()

    def shown_ns(self) -> int:
        """The time that the venue shows."""
        return self.clock.now_ns() + self.skew_ns

    def catch_up(self) -> None:
        """Bring the exchange to the present, so that a command is stamped with it."""
        self.exchange.advance(self.clock.now_ns())

    async def run(self) -> None:
        """Let time pass, until cancelled."""
        while True:
            now_ns = self.clock.now_ns()
            await self.clock.sleep_until(now_ns - (now_ns - self._started_ns) % TICK_NS + TICK_NS)
            self.tick()

    def tick(self) -> None:
        """Do what is due by now."""
        now_ns = self.clock.now_ns()
        ticks = (now_ns - self._ticked_ns) // TICK_NS
        if ticks <= 0:
            return
        self._ticked_ns += ticks * TICK_NS
        self.exchange.advance(now_ns)
        for hook in self.hooks:
            hook()
        self._act(min(ticks, TICKS_AT_ONCE_MAX))

    def _act(self, ticks: int) -> None:
        """The others act, funding is settled, and the exchange draws its conclusions."""
        now_ns = self.exchange.now_ns
        for symbol, flow in self._flows.items():
            flow.tick(now_ns, ticks=ticks, is_frozen=self.is_frozen)
            funding = self._fundings[symbol]
            interval_ns = self.exchange.listing(symbol).funding_interval_s * NS_PER_S
            left_share = max(0, funding.next_ns - now_ns) / interval_ns
            flow.set_prices(rate_ppb=funding.settled_ppb, left_share=left_share, ticks=ticks)
            while now_ns >= funding.next_ns:
                self._settle(symbol, funding, interval_ns)
        self.exchange.step(now_ns)
        self.publish()
        for seconds in self._seconds.values():
            seconds.roll(now_ns)

    def _settle(self, symbol: str, funding: Funding, interval_ns: int) -> None:
        """Settle a funding, or pass it over."""
        if self.may_settle_funding(symbol):
            self.exchange.settle_funding(symbol, funding.rate_ppb)
            funding.settled_ppb, funding.settled_ns = funding.rate_ppb, funding.next_ns
        funding.next_ns += interval_ns
        recorded = self._flows[symbol].recorded_rate_ppb
        funding.rate_ppb = funding.rate_ppb if recorded is None else recorded

    # What is told.

    def listen(self, callback: Callable[[Sequence[Change]], None]) -> None:
        """Get everything that happens from now on, in order."""
        self._listeners.append(callback)

    def publish(self) -> None:
        """Tell what has happened since the last time."""
        changes = self.exchange.take_changes()
        if not changes:
            return
        for change in changes:
            if isinstance(change, PublicTrade):
                instrument = self.exchange.listing(change.symbol).instrument
                self._seconds[change.symbol].add(
                    change, instrument.notional_units(change.price_ticks, change.size_lots)
                )
        for callback in self._listeners:
            callback(changes)

    # Accounts.

    def open_account(self, api_key: str = "", api_secret: str = "", deposit: str = "") -> TestAccount:
        """A new funded account; keys are made up where none are given. Raises `ValueError` for what is not possible."""
        units = money_units(deposit or self.settings.deposit)
        dice = dice_of(self.settings.seed, "account", len(self.accounts))
        made = [f"{dice.word():016x}{dice.word():016x}" for _ in range(2)]
        key, secret = api_key or made[0], api_secret or made[1]
        if key in self.accounts or units <= 0:
            raise ValueError("an account needs a key that is not taken and a deposit above zero")
        self.catch_up()
        number = self.exchange.open_account(f"account {key}", units)
        account = TestAccount(number=number, api_key=key, api_secret=secret)
        self.accounts[key] = account
        self.publish()
        return account

    # What is shown.

    def funding(self, symbol: str) -> Funding:
        """Funding of a symbol as it stands."""
        return self._fundings[symbol]

    def fundings(self, symbol: str) -> Sequence[FundingSettled]:
        """Past fundings, oldest first."""
        return self.exchange.fundings(symbol)

    def bars(
        self, symbol: str, interval: str, *, limit: int, end_ns: int, by: TriggerBy = TriggerBy.LAST_PRICE
    ) -> list[Bar]:
        """The newest bars that began before the end, oldest first; `KeyError` for an interval that is not offered."""
        if interval in SHORT_INTERVALS_S and self.settings.serves_short_klines and by is TriggerBy.LAST_PRICE:
            return self._seconds[symbol].bars(SHORT_INTERVALS_S[interval], limit=limit, end_ns=end_ns)
        return self.exchange.bars(symbol, interval, limit=limit, end_ns=end_ns, by=by)

    def forming_bar(self, symbol: str, interval_s: int, *, is_mark: bool) -> Bar:
        """The bar that is being made."""
        interval = next(name for name, length_ns in INTERVALS_NS.items() if length_ns == interval_s * NS_PER_S)
        by = TriggerBy.MARK_PRICE if is_mark else TriggerBy.LAST_PRICE
        return self.exchange.bars(symbol, interval, limit=1, by=by)[-1]

    # What may be done to it.

    def move(self, symbol: str | None, fraction: float) -> None:
        """Let the reference jump by a fraction, of one symbol or of all; quotes follow at once."""
        for flow in self._chosen(symbol):
            flow.move(fraction)
            flow.quote()
        self.publish()

    def move_to(self, symbol: str, price: float) -> None:
        """Let the reference of a symbol jump to a price."""
        self._flows[symbol].move_to(price)
        self._flows[symbol].quote()
        self.publish()

    def references(self) -> dict[str, float]:
        """The reference prices at present."""
        return {symbol: flow.index for symbol, flow in self._flows.items()}

    def _chosen(self, symbol: str | None) -> Sequence[Flow]:
        return tuple(self._flows.values()) if symbol is None else (self._flows[symbol],)

    def hit(self, account: int, order: PerpOrder) -> None:
        """Let others trade until a resting order is filled."""
        present = self.exchange.order(account, order.order_id)
        if present is not None and present.is_open:
            self.catch_up()
            self._flows[order.symbol].hit(present)
            self.publish()

    def thin(self, symbol: str, side: int, lots: int) -> None:
        """A coming order of that side finds no more than so many lots, until quotes are renewed."""
        self._flows[symbol].thin(Side(side), lots)
        self.publish()

    def cancel_by_venue(self, account: int, order_id: int) -> None:
        """The venue ends an order."""
        self.catch_up()
        self.exchange.cancel(account, order_id, reason=PerpReason.POST_ONLY_WOULD_CROSS)
        self.publish()


def _rules(settings: BitunixTestnetSettings) -> PerpRules:
    listings = tuple(_listing(symbol, settings) for symbol in dict.fromkeys(settings.symbols))
    return PerpRules(
        listings=listings,
        account_capacity=ACCOUNTS_MAX,
        history_max=settings.history_max,
        changes_max=max(200_000, settings.history_max),
    )


def _listing(symbol: str, settings: BitunixTestnetSettings) -> PerpListing:
    facts = KNOWN_INSTRUMENTS.get(symbol)
    if facts is None or symbol not in START_PRICES:
        raise UsageFault(f"the testnet does not list {symbol!r}; it knows {', '.join(START_PRICES)}")
    leverage_max = LEVERAGES_MAX.get(symbol, LEVERAGE_MAX)
    tiers = tuple(
        PerpTier(end_units=value * MONEY_SCALE, leverage_max=leverage, maintenance_ppm=maintenance_ppm)
        for value, leverage, maintenance_ppm in TIERS
        if leverage <= leverage_max
    )
    terms = {**facts, "lot_size": LOT_SIZES.get(symbol, facts["lot_size"])}
    plain = Instrument(symbol=symbol, **terms)
    instrument = Instrument(
        symbol=symbol,
        **terms,
        lots_max=plain.size_lots(LIMIT_COINS_MAX, Rounding.DOWN),
        leverage_max=leverage_max,
        maintenance_ppm=tiers[0].maintenance_ppm,
        funding_interval_s=settings.funding_interval_s or plain.funding_interval_s,
    )
    return PerpListing(
        instrument=instrument,
        price_ticks=instrument.price_ticks(START_PRICES[symbol], Rounding.NEAREST),
        tiers=tiers,
        leverage_default=LEVERAGE_DEFAULT,
        market_lots_max=plain.size_lots(MARKET_COINS_MAX, Rounding.DOWN),
    )
