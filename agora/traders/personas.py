"""The personas: which there are, how each decides without a model, what it starts with, and which prompt it has.

Knows neither models nor the exchange; names are members of an enum, and behaviour hangs on them in one table.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta

from agora.domain.dice import Dice
from agora.exchange.requests import AgentView, Request
from agora.traders.policies_dealing import DayTrader, MarketMaker, Whale
from agora.traders.policies_following import Algorithmic, Fomo, Momentum, Panic, RumorMonger
from agora.traders.policies_opposing import Conservative, Contrarian, Dca, Value
from agora.traders.scene import REQUESTS_MAX, AssetMemory, Scene


class PersonaStrategy(StrEnum):
    """What kind of trader an agent is."""

    CONSERVATIVE = "conservative"
    MOMENTUM = "momentum"
    PANIC = "panic"
    VALUE = "value"
    CONTRARIAN = "contrarian"
    FOMO = "fomo"
    ALGORITHMIC = "algorithmic"
    DAY_TRADER = "day_trader"
    WHALE = "whale"
    MARKET_MAKER = "market_maker"
    RUMOR_MONGER = "rumor_monger"
    DCA = "dca"


class Policy(Protocol):
    """The rules of a persona; its attributes are its parameters."""

    def propose(self, scene: Scene) -> tuple[Request, ...]:
        """What to do about one asset. May change the scene's memory and draw from its dice, nothing else."""
        ...


class PersonaKind(msgspec.Struct, frozen=True, kw_only=True):
    """A persona: rules, wealth relative to the market's setting, and the version of its prompt.

    `units_percent` is the worth of the inventory it starts with, over all assets together, relative to the same
    setting as its cash.
    """

    policy: Policy
    cash_percent: Annotated[int, Meta(ge=0, le=10_000)] = 100
    units_percent: Annotated[int, Meta(ge=0, le=10_000)] = 50
    prompt_version: str = "v1"


_P = PersonaStrategy
PERSONAS: dict[PersonaStrategy, PersonaKind] = {
    _P.CONSERVATIVE: PersonaKind(policy=Conservative(), units_percent=30),
    _P.MOMENTUM: PersonaKind(policy=Momentum()),
    _P.PANIC: PersonaKind(policy=Panic(), cash_percent=80),
    _P.VALUE: PersonaKind(policy=Value(), cash_percent=150, units_percent=100),
    _P.CONTRARIAN: PersonaKind(policy=Contrarian()),
    _P.FOMO: PersonaKind(policy=Fomo(), cash_percent=60, units_percent=10),
    _P.ALGORITHMIC: PersonaKind(policy=Algorithmic(), cash_percent=150),
    _P.DAY_TRADER: PersonaKind(policy=DayTrader(), cash_percent=50, units_percent=0),
    _P.WHALE: PersonaKind(policy=Whale(), cash_percent=1_000, units_percent=1_000),
    _P.MARKET_MAKER: PersonaKind(policy=MarketMaker(), cash_percent=400, units_percent=400),
    _P.RUMOR_MONGER: PersonaKind(policy=RumorMonger(), cash_percent=50, units_percent=30),
    _P.DCA: PersonaKind(policy=Dca(), units_percent=0),
}


class _Remembered(msgspec.Struct, forbid_unknown_fields=True):
    dice: int
    turn: int
    assets: dict[str, AssetMemory]


class RuleTrader:
    """An agent that decides by its persona's rules (port `Agent`); looks at one asset per tick, in turn.

    Its memory is one small record per asset of the market.
    """

    __slots__ = ("_assets", "_dice", "_turn", "name", "persona")

    def __init__(self, name: str, persona: PersonaStrategy, dice: Dice) -> None:
        self.name = name
        self.persona = persona
        self._dice = dice
        self._turn = dice.below(2**31)  # so that not all agents look at the same asset in a tick
        self._assets: dict[str, AssetMemory] = {}

    def decide(self, view: AgentView) -> Sequence[Request]:
        """At most `REQUESTS_MAX` affordable requests about the asset whose turn it is."""
        symbols = view.symbols
        symbol = symbols[(self._turn + view.tick) % len(symbols)]
        memory = self._assets.get(symbol)
        if memory is None:
            memory = self._assets[symbol] = AssetMemory()
        scene = Scene(view, symbol, self._dice, memory=memory)
        requests = PERSONAS[self.persona].policy.propose(scene)
        memory.seen_tick = view.tick
        assert len(requests) <= REQUESTS_MAX, f"{self.persona}: {len(requests)} requests"
        return requests

    def snapshot(self) -> dict[str, Any]:
        """Dice, turn and memory as plain JSON values."""
        remembered = _Remembered(dice=self._dice.state, turn=self._turn, assets=self._assets)
        return msgspec.to_builtins(remembered)  # type: ignore[no-any-return]  # a record becomes a dict

    def restore(self, memory: dict[str, Any]) -> None:
        """The inverse of `snapshot`; raises `msgspec.ValidationError` for anything else."""
        remembered = msgspec.convert(memory, _Remembered)
        self._dice.state, self._turn, self._assets = remembered.dice, remembered.turn, remembered.assets
