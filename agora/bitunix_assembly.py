"""The part of the assembly that goes to Bitunix: a preflight, market data, the account.

Loaded by runs that go there (`assembly` imports it then), so that all others need neither it nor the library below it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from agora.config import Config, RunSettings
from agora.domain.errors import StartFault, Transient
from agora.domain.instruments import Instrument
from agora.domain.numbers import NS_PER_MS
from agora.engine.ports import Clock, Venue
from agora.engine.state import State
from agora.session.access import Access, Seen, hosts_of
from agora.session.clock import PacedClock
from agora.venues.bitunix import preflight
from agora.venues.bitunix.client import BitunixClient
from agora.venues.bitunix.feed import BitunixFeed, market_socket
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.signing import Credentials
from agora.venues.bitunix.stream import PrivateSocket
from agora.venues.bitunix.venue import BitunixVenue, Lines
from agora.venues.outlet import FeedWants
from agora.venues.paper import Feed
from agora.venues.providers import Supply, build_feed
from agora.venues.recorded import RecordedSource
from agora.venues.rest import Network

# A venue that does not answer three requests within this is not there.
VENUE_SEEN_S_MAX = 5
# One of them is tried again for so long, so that what is wrong is known before the time is over.
READ_S_MAX = 4.0
# A dozen requests of an account, at most ten a second, with room for one that is repeated.
ACCOUNT_SEEN_S_MAX = 20
# Waits of sockets that shrink with a faster clock, and how far: a busy machine is late by a tenth of a second.
SOCKET_WAITS = ("keepalive_s", "market_silence_s_max", "user_silence_s_max")
SOCKET_S_MIN = 0.5
VENUE_NAME = "bitunix"


class Road(msgspec.Struct, frozen=True, kw_only=True):
    """Where a run goes and by which means. A simulation brings a network and a clock of its own."""

    config: Config
    access: Access
    clock: Clock
    network: Network

    @property
    def settings(self) -> BitunixSettings:
        """Of the venue. What a socket waits for is real time; the run judges its silence by the run's faster clock."""
        found: BitunixSettings = self.config["bitunix"]
        factor = max(1.0, self.run.clock_factor)
        return msgspec.structs.replace(
            found,
            **{
                name: max(getattr(found, name) / factor, min(SOCKET_S_MIN, getattr(found, name)))
                for name in SOCKET_WAITS
            },
        )

    @property
    def run(self) -> RunSettings:
        """Of the run."""
        found: RunSettings = self.config["run"]
        return found

    @property
    def host(self) -> str:
        """For messages."""
        return hosts_of([self.access.rest_url])

    def credentials(self) -> Credentials | None:
        """As whom; None: as nobody."""
        key, secret = self.access.api_key, self.access.api_secret
        return None if key is None or secret is None else Credentials(key.reveal(), secret.reveal())

    def client(self, settings: BitunixSettings | None = None) -> BitunixClient:
        """A client of the account, or of nobody."""
        return BitunixClient(
            self.network,
            self.credentials(),
            clock=self.clock,
            seed=self.run.seed,
            settings=msgspec.structs.replace(settings or self.settings, rest_url=self.access.rest_url),
        )

    def impatient_client(self) -> BitunixClient:
        """One that gives up early, for somebody who waits."""
        hurried = min(READ_S_MAX, self.settings.read_s_max)
        return self.client(msgspec.structs.replace(self.settings, read_s_max=hurried))


def road(config: Config, access: Access, *, clock: Clock | None = None, network: Network | None = None) -> Road:
    """The road to a venue, over the network and the clock of this machine unless others are given."""
    paced = clock or PacedClock(factor=config["run"].clock_factor)
    return Road(config=config, access=access, clock=paced, network=network or Network())


# Before a run.


async def look(road: Road) -> Seen:
    """Ask a venue for what a run needs to know of it, and a live run's account whether it is fit to be traded on.

    Raises `Transient` when the venue cannot be reached, `StartFault` when it will not do.
    """
    road, seen = await _meet(road)
    if not road.run.is_live:
        return seen
    found = await _account(road, is_run=True)
    if found.problems:
        raise StartFault(f"the account is not ready for a run (`agora doctor` shows all): {'; '.join(found.problems)}")
    return msgspec.structs.replace(seen, equity_units=found.cash_units)


async def venue_clock(road: Road) -> Clock:
    """Time as the venue has it; raises `Transient` when it cannot be reached."""
    met, _ = await _meet(road)
    return met.clock


async def check_venue(road: Road) -> list[tuple[str, bool, str]]:
    """What a preflight finds, for `agora doctor`: what, whether it is good, what was found."""
    try:
        road, seen = await _meet(road)
        rows = [("venue", True, road.host)]
        rows += [(f"contract {item.symbol}", True, _contract_text(item)) for item in seen.instruments.values()]
        if road.access.api_key is None:
            return [*rows, ("keys", True, "none: only paper runs")]
        found = await _account(road, is_run=False)
    except (Transient, StartFault) as fault:
        return [("venue", False, str(fault))]
    facts = [(what, True, text) for what, text in found.facts.items()]
    return [*rows, *facts, *(("problem", False, text) for text in found.problems_left(road.settings))]


async def _meet(road: Road) -> tuple[Road, Seen]:
    """The contracts, and the road on the venue's own time; raises `Transient` when it does not answer in time."""
    client = road.impatient_client()
    try:
        async with asyncio.timeout(VENUE_SEEN_S_MAX):
            instruments = await preflight.instruments_of(client, road.run.symbol, road.settings)
    except TimeoutError:
        raise Transient(f"no answer of {road.host} in {VENUE_SEEN_S_MAX} s") from None
    except StartFault as fault:
        if isinstance(fault.__cause__, Transient):
            raise Transient(f"{road.host}: {fault.__cause__}") from None
        raise
    finally:
        await client.close()
    if road.run.clock_factor == 1:
        return road, Seen(access=road.access, instruments=instruments)
    # Where its time is faster than ours no wall shows it: the run's clock is set by it.
    clock = PacedClock(road.clock.now_ns() + client.clock_offset_ms * NS_PER_MS, road.run.clock_factor)
    road = msgspec.structs.replace(road, clock=clock)
    return road, Seen(access=road.access, instruments=instruments, clock=clock)


async def _account(road: Road, *, is_run: bool) -> preflight.Preflight:
    """What the account is, for a run after what the run sets in it was set; raises `StartFault`."""
    client = road.impatient_client()
    try:
        async with asyncio.timeout(ACCOUNT_SEEN_S_MAX):
            if is_run and road.settings.set_account:
                await preflight.prepare(client, road.run.symbol, road.settings)
            return await preflight.look(client, road.run.symbol, road.settings)
    except TimeoutError:
        raise StartFault(f"{road.host} has not told of the account in {ACCOUNT_SEEN_S_MAX} s") from None
    finally:
        await client.close()


def _contract_text(item: Instrument) -> str:
    return (
        f"tick {item.tick_size}, lot {item.lot_size}, at least {item.size_text(item.lots_min)}, "
        f"leverage to {item.leverage_max}, funding every {item.funding_interval_s // 3_600} h"
    )


# The run.


def provided_feed(road: Road, wants: FeedWants, recording: Callable[[], RecordedSource], *, after: int) -> Feed:
    """The market data of whoever was asked for: the venue itself, others, several."""
    access = road.access
    supply = Supply(
        wants=wants,
        clock=road.clock,
        network=road.network,
        bitunix=msgspec.structs.replace(road.settings, rest_url=access.rest_url, public_ws=access.public_ws),
        settings=road.config["provider"],
        seed=road.run.seed,
        recording=recording,
        after=after,
    )
    return build_feed(road.run.provider or VENUE_NAME, supply)


def live_venue(road: Road, wants: FeedWants, state: State) -> Venue:
    """The account, with one client for its orders and its market data.

    The state is looked at when the venue is opened: a resumed run goes on where it stood.
    """
    settings, seed, credentials = road.settings, road.run.seed, road.credentials()
    assert credentials is not None, "a live run has an account"
    client = road.client()
    public = market_socket(road.access.public_ws, road.network, settings, seed=seed)
    lines = Lines(
        client=client,
        private=PrivateSocket(road.access.private_ws, road.network, credentials, seed),
        feed=BitunixFeed(wants, client=client, public=public, settings=settings, clock=road.clock),
        data_age_s_max=road.config["risk"].data_age_s_max,
    )
    return BitunixVenue(lines, state, instruments=wants.instruments, settings=settings, clock=road.clock)
