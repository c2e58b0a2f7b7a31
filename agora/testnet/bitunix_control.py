"""The control port of the loopback Bitunix: accounts, the ledger, the reference price, the pace of time."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from aiohttp import web

from agora.domain.numbers import money_text
from agora.testnet.bitunix_notes import Notes
from agora.testnet.bitunix_world import TestAccount, World
from agora.testnet.control import ControlPort, json_answer

_Key = Annotated[str, msgspec.Meta(max_length=100, pattern=r"^[!-~]*$")]
COIN = "USDT"


class AccountWish(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /accounts`: a funded account, with keys of its own where none are given."""

    api_key: _Key = ""
    api_secret: _Key = ""
    deposit: Annotated[str, msgspec.Meta(max_length=30)] = ""


class PriceWish(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /price`: move the reference by a fraction or to a price, of one symbol or all; freeze or free it."""

    symbol: str | None = None
    fraction: Annotated[float, msgspec.Meta(gt=-1, le=1_000)] | None = None
    price: Annotated[float, msgspec.Meta(gt=0, lt=1e9)] | None = None
    freeze: bool | None = None


class TimeWish(msgspec.Struct, forbid_unknown_fields=True):
    """`POST /time`: how many times as fast venue time runs."""

    factor: Annotated[float, msgspec.Meta(gt=0, le=1_000)]


class BitunixControl:
    """The calls that only this venue has."""

    def __init__(self, world: World, notes: Notes) -> None:
        self._world = world
        self._notes = notes

    def app(self, port: ControlPort) -> web.Application:
        """The application: what every testnet has, and this."""
        app = port.app()
        app.router.add_post("/accounts", self._open_account)
        app.router.add_get("/ledger", self._ledger)
        app.router.add_post("/price", self._price)
        app.router.add_get("/time", self._time)
        app.router.add_post("/time", self._set_time)
        return app

    def account_row(self, account: TestAccount) -> dict[str, Any]:
        """An account as it is announced."""
        wallet_units = self._world.exchange.account(account.number).wallet_units
        return {
            "api_key": account.api_key,
            "api_secret": account.api_secret,
            "balances": {COIN: money_text(wallet_units)},
        }

    async def _open_account(self, request: web.Request) -> web.Response:
        try:
            wish = msgspec.json.decode(await request.read() or b"{}", type=AccountWish)
            account = self._world.open_account(wish.api_key, wish.api_secret, wish.deposit)
        except (msgspec.MsgspecError, ValueError) as fault:
            return _refused(fault)
        return json_answer(self.account_row(account))

    async def _ledger(self, _: web.Request) -> web.Response:
        return json_answer(self._notes.ledger())

    async def _price(self, request: web.Request) -> web.Response:
        world = self._world
        try:
            wish = msgspec.json.decode(await request.read(), type=PriceWish)
        except msgspec.MsgspecError as fault:
            return _refused(fault)
        symbol = None if wish.symbol is None else wish.symbol.upper()
        if symbol is not None and symbol not in world.symbols:
            return _refused(ValueError(f"unknown symbol; listed are {', '.join(world.symbols)}"))
        if wish.price is not None and (symbol is None or wish.fraction is not None):
            return _refused(ValueError("a price is that of one symbol, and no fraction goes with it"))
        world.catch_up()
        if wish.freeze is not None:
            world.is_frozen = wish.freeze
        if wish.fraction is not None:
            world.move(symbol, wish.fraction)
        if wish.price is not None and symbol is not None:
            world.move_to(symbol, wish.price)
        return json_answer({"references": world.references(), "is_frozen": world.is_frozen})

    async def _time(self, _: web.Request) -> web.Response:
        return json_answer({"now_ns": self._world.now_ns(), "factor": self._world.clock.factor})

    async def _set_time(self, request: web.Request) -> web.Response:
        try:
            wish = msgspec.json.decode(await request.read(), type=TimeWish)
        except msgspec.MsgspecError as fault:
            return _refused(fault)
        self._world.clock.set_factor(wish.factor)
        return await self._time(request)


def _refused(fault: Exception) -> web.Response:
    return json_answer({"error": str(fault)}, status=400)
