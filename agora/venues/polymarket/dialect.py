"""Which contract an order is signed for, and with which version: constants of the venue that have changed before."""

from __future__ import annotations

import msgspec

from agora.venues.polymarket.eip712 import Domain

POLYGON_CHAIN = 137
# Token ids of protocol V2 have these bits all zero; in others they are those of a hash.
_POSITION_BITS = ((1 << 64) - 1) << 40


def exchange_domain(contract: str, *, version: str = "2", chain_id: int = POLYGON_CHAIN) -> Domain:
    """The domain of an exchange's orders."""
    return Domain(name="Polymarket CTF Exchange", version=version, chain_id=chain_id, contract=contract)


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """The exchanges of a chain, and how one says who one is. The defaults are those of Polygon in autumn 2026."""

    chain_id: int = POLYGON_CHAIN
    standard: Domain = exchange_domain("0xE111180000d2663C0091e4f400237545B87B996B")
    neg_risk: Domain = exchange_domain("0xe2222d279d744050d28e00520010520000310F59")
    position: Domain = exchange_domain("0xe3333700cA9d93003F00f0F71f8515005F6c00Aa", version="3")

    def exchange_of(self, token_id: str, *, is_neg_risk: bool = False) -> Domain:
        """Where a token trades: those of protocol V2 on the exchange V3, whatever else is said of their market."""
        if is_position(token_id):
            return self.position
        return self.neg_risk if is_neg_risk else self.standard

    @property
    def login(self) -> Domain:
        """The domain of the statement that a key is ours; it has stayed at version 1."""
        return Domain(name="ClobAuthDomain", version="1", chain_id=self.chain_id)


def is_position(token_id: str) -> bool:
    """Whether a token is a position of protocol V2, told by its id alone."""
    return int(token_id) & _POSITION_BITS == 0


POLYGON = Dialect()
