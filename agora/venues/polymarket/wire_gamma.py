"""Markets as Gamma lists them: windows of up/down markets, their tokens by label, their rules and their outcome. No IO.

Lists come as JSON texts inside the JSON; labels and tokens belong together by their places in two such lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec

from agora.venues.polymarket.wire_account import ROWS_MAX, Page
from agora.venues.polymarket.wire_book import OUTCOMES_MAX, FeeSchedule, Outcome, outcomes_of
from agora.venues.polymarket.wire_values import name_of, odds_or_none, share_of, token_of, words_of
from agora.venues.wire_rows import Fields, fields_of, list_of
from agora.venues.wire_values import Malformed, decode_json, flag_of, iso_ns, price_of, shortened, size_of, whole_of

RESOLVED = "resolved"
LOOKBACK_S_MAX = 86_400
WINDOWS_S: Mapping[str, int] = MappingProxyType({"5m": 300, "15m": 900, "4h": 14_400})


class GammaMarket(msgspec.Struct, frozen=True, kw_only=True):
    """A market. `outcomes` is empty until its tokens are made; `twap_s` 0: settled by one price, no average.

    `start_ns` and `end_ns` are the window's. `price_to_beat` and `final_price` come minutes after its end.
    """

    condition_id: str
    slug: str
    version: str
    outcomes: tuple[Outcome, ...]
    start_ns: int
    end_ns: int
    listed_ns: int
    closed_ns: int
    is_active: bool
    is_closed: bool
    is_accepting_orders: bool
    has_order_book: bool
    is_neg_risk: bool
    tick_size: Decimal | None
    order_size_min: Decimal
    has_fees: bool
    fee: FeeSchedule | None
    rewards_size_min: Decimal
    rewards_spread_max: Decimal
    twap_s: int
    resolution_source: str
    resolution_status: str
    price_to_beat: Decimal | None
    final_price: Decimal | None

    def token(self, label: str) -> str:
        """The token of an outcome by its label, in any letter case; raises `Malformed` when there is none."""
        for outcome in self.outcomes:
            if outcome.label.lower() == label.lower():
                return outcome.token_id
        raise Malformed(f"{self.slug} has no outcome {label!r}: {[outcome.label for outcome in self.outcomes]}")

    @property
    def winner(self) -> Outcome | None:
        """The outcome that pays: only of a market that is closed and resolved, with one price of 1 and the others 0."""
        if not self.is_closed or self.resolution_status != RESOLVED:
            return None
        winners = [outcome for outcome in self.outcomes if outcome.price == 1]
        losers = [outcome for outcome in self.outcomes if outcome.price == 0]
        return winners[0] if len(winners) == 1 and len(losers) == len(self.outcomes) - 1 else None


def updown_slug(asset: str, *, window: str, start_s: int) -> str:
    """The name of a window's market, which is also its event's; raises `ValueError` where none begins."""
    if window not in WINDOWS_S or (window != "4h" and start_s % WINDOWS_S[window]):
        raise ValueError(f"no window of {window} begins at {start_s}")
    return f"{asset}-updown-{window}-{start_s}"


def gamma_market(row: Fields) -> GammaMarket:
    """A market; of protocol V2 it has other tokens, also where both are listed."""
    version = words_of(row.get("version"), "version")
    rewards = {name: size_of(row.get(name), name) for name in ("rewardsMinSize", "rewardsMaxSpread")}
    story = _story(row)
    return GammaMarket(
        condition_id=name_of(row.get("conditionId"), "conditionId"),
        slug=words_of(row.get("slug"), "slug"),
        version=version,
        outcomes=_outcomes(row, tokens=row.get("positionIds" if version == "v2" else "clobTokenIds")),
        start_ns=iso_ns(row.get("eventStartTime"), "eventStartTime"),
        end_ns=iso_ns(row.get("endDate"), "endDate"),
        listed_ns=iso_ns(row.get("startDate"), "startDate"),
        closed_ns=_closed_ns(row.get("closedTime")),
        is_active=flag_of(row.get("active")),
        is_closed=flag_of(row.get("closed")),
        is_accepting_orders=flag_of(row.get("acceptingOrders")),
        has_order_book=flag_of(row.get("enableOrderBook")),
        is_neg_risk=flag_of(row.get("negRisk")),
        tick_size=odds_or_none(row.get("orderPriceMinTickSize"), "orderPriceMinTickSize"),
        order_size_min=size_of(row.get("orderMinSize"), "orderMinSize"),
        has_fees=flag_of(row.get("feesEnabled")),
        fee=_fee(row.get("feeSchedule")),
        rewards_size_min=rewards["rewardsMinSize"],
        rewards_spread_max=rewards["rewardsMaxSpread"],
        twap_s=_twap_s(row.get("cryptoMarketConfig")),
        resolution_source=words_of(row.get("resolutionSource"), "resolutionSource"),
        resolution_status=words_of(row.get("umaResolutionStatus"), "umaResolutionStatus"),
        price_to_beat=_price_or_none(story.get("priceToBeat"), "priceToBeat"),
        final_price=_price_or_none(story.get("finalPrice"), "finalPrice"),
    )


def gamma_markets(data: object) -> Page[GammaMarket]:
    """The markets of an answer: a bare list, a page under `markets` or `data`, or what belongs to one event."""
    if isinstance(data, list):
        data = {"markets": data}
    row = fields_of(data)
    rows = list_of(row.get("markets", row.get("data")), most=ROWS_MAX)
    cursor = words_of(row.get("next_cursor"), "next_cursor")
    return Page(tuple(gamma_market(fields_of(each)) for each in rows), cursor)


def _list(value: object) -> list[Any]:
    """A list, or the list that a text says; nothing written is an empty one."""
    if value is None or value == "":
        return []
    return list_of(decode_json(value) if isinstance(value, str) else value, most=OUTCOMES_MAX)


def _outcomes(row: Fields, *, tokens: object) -> tuple[Outcome, ...]:
    found = _list(tokens)
    if not found or any(token == "" for token in found):
        return ()
    labels = [words_of(label, "outcome") for label in _list(row.get("outcomes"))]
    bare = outcomes_of(labels, [token_of(token, "token") for token in found])
    prices = _list(row.get("outcomePrices"))
    if not prices:
        return bare
    if len(prices) != len(bare):
        raise Malformed(f"{len(bare)} outcomes have {len(prices)} prices")
    return tuple(
        msgspec.structs.replace(outcome, price=share_of(price, "outcomePrices"))
        for outcome, price in zip(bare, prices, strict=True)
    )


def _fee(value: object) -> FeeSchedule | None:
    if value is None:
        return None
    row = fields_of(value)
    return FeeSchedule(
        rate=share_of(row.get("rate"), "rate"),
        exponent=size_of(row.get("exponent"), "exponent"),
        is_taker_only=flag_of(row.get("takerOnly")),
        rebate_rate=share_of(row.get("rebateRate") or 0, "rebateRate"),
    )


def _twap_s(value: object) -> int:
    config = {} if value is None else fields_of(value)
    if not flag_of(config.get("twapEnabled")):
        return 0
    return whole_of(config.get("twapLookbackSeconds"), "twapLookbackSeconds", least=1, most=LOOKBACK_S_MAX)


def _story(row: Fields) -> Fields:
    """What the market's event tells of how it went."""
    events = list_of(row.get("events") or [], most=ROWS_MAX)
    return fields_of(fields_of(events[0]).get("eventMetadata") or {}) if events else {}


def _price_or_none(value: Any, what: str) -> Decimal | None:
    return None if value is None or value == "" else price_of(value, what)


def _closed_ns(value: object) -> int:
    """A time as databases write it, `2026-10-03 00:16:10+00`, or as everybody does."""
    if value is None or value == "":
        return 0
    if not isinstance(value, str):
        raise Malformed(f"closedTime is no time: {shortened(value)}")
    text = value.replace(" ", "T", 1)
    return iso_ns(f"{text.removesuffix('+00')}Z" if text.endswith("+00") else text, "closedTime")
