"""What the CLOB refuses, sorted by what is to be done about it. Pure: a status and a body in, one value out.

https://docs.polymarket.com/resources/error-codes; texts are compared without letter case, by their fixed parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, auto
from types import MappingProxyType

import msgspec

from agora.venues.polymarket.wire_values import words_of
from agora.venues.wire_rows import Fields
from agora.venues.wire_values import Malformed, decode_json, whole_of

# A venue that asks for a longer pause than this is away.
RETRY_AFTER_S_MAX = 3_600


class Kind(StrEnum):
    """Why something was refused."""

    CROSSES_BOOK = auto()
    OFF_TICK = auto()
    BELOW_SIZE = auto()
    BELOW_VALUE = auto()
    DUPLICATE = auto()
    NO_FUNDS = auto()
    BAD_EXPIRATION = auto()
    FOK_KILLED = auto()
    FAK_UNMATCHED = auto()
    NOT_READY = auto()
    IN_DOUBT = auto()
    WRONG_SIGNER = auto()
    BANNED = auto()
    CLOSED_ONLY = auto()
    BAD_REQUEST = auto()
    NOT_AUTHORISED = auto()
    FORBIDDEN = auto()
    NO_MARKET = auto()
    NOT_FOUND = auto()
    RESTARTING = auto()
    TOO_FAST = auto()
    DISABLED = auto()
    CANCEL_ONLY = auto()
    POST_ONLY_MODE = auto()
    OTHER_VERSION = auto()
    OTHER_HEARTBEAT = auto()
    OTHER = auto()


class Reaction(StrEnum):
    """What the client does about it."""

    REQUOTE = auto()  # at once, without a pause
    REFRESH_TICK = auto()
    RESIZE = auto()
    ALREADY_SENT = auto()  # the order is there, or was
    REFRESH_BALANCES = auto()
    MISSED = auto()  # an immediate order that found nothing: normal
    WAIT = auto()  # then the same again
    RECONCILE = auto()  # it may have been done: ask by the order's id
    STOP = auto()  # an operator has to look
    LOG_IN = auto()  # once, then stop
    POST_ONLY = auto()  # nothing else for a while
    CANCEL_ONLY = auto()
    REFRESH_VERSION = auto()  # and sign again
    RESEND_HEARTBEAT = auto()  # with the id that is expected
    BACK_OFF = auto()
    BUG = auto()  # ours


REACTIONS: Mapping[Kind, Reaction] = MappingProxyType(
    {
        Kind.CROSSES_BOOK: Reaction.REQUOTE,
        Kind.OFF_TICK: Reaction.REFRESH_TICK,
        Kind.BELOW_SIZE: Reaction.RESIZE,
        Kind.BELOW_VALUE: Reaction.RESIZE,
        Kind.DUPLICATE: Reaction.ALREADY_SENT,
        Kind.NO_FUNDS: Reaction.REFRESH_BALANCES,
        Kind.BAD_EXPIRATION: Reaction.BUG,
        Kind.FOK_KILLED: Reaction.MISSED,
        Kind.FAK_UNMATCHED: Reaction.MISSED,
        Kind.NOT_READY: Reaction.WAIT,
        Kind.IN_DOUBT: Reaction.RECONCILE,
        Kind.WRONG_SIGNER: Reaction.STOP,
        Kind.BANNED: Reaction.STOP,
        Kind.CLOSED_ONLY: Reaction.STOP,
        Kind.BAD_REQUEST: Reaction.BUG,
        Kind.NOT_AUTHORISED: Reaction.LOG_IN,
        Kind.FORBIDDEN: Reaction.STOP,
        Kind.NO_MARKET: Reaction.WAIT,
        Kind.NOT_FOUND: Reaction.WAIT,
        Kind.RESTARTING: Reaction.WAIT,
        Kind.TOO_FAST: Reaction.WAIT,
        Kind.DISABLED: Reaction.STOP,
        Kind.CANCEL_ONLY: Reaction.CANCEL_ONLY,
        Kind.POST_ONLY_MODE: Reaction.POST_ONLY,
        Kind.OTHER_VERSION: Reaction.REFRESH_VERSION,
        Kind.OTHER_HEARTBEAT: Reaction.RESEND_HEARTBEAT,
        Kind.OTHER: Reaction.BACK_OFF,
    }
)

# The first part that stands in a message decides; longer parts stand before those that they contain.
_PARTS: tuple[tuple[str, Kind], ...] = (
    ("order_version_mismatch", Kind.OTHER_VERSION),
    ("invalid heartbeat id", Kind.OTHER_HEARTBEAT),
    ("order crosses book", Kind.CROSSES_BOOK),
    ("crosses the book", Kind.CROSSES_BOOK),
    ("breaks minimum tick size rule", Kind.OFF_TICK),
    ("lower than the minimum", Kind.BELOW_SIZE),
    ("invalid amount for a marketable buy order", Kind.BELOW_VALUE),
    ("is invalid. duplicated", Kind.DUPLICATE),
    ("not enough balance", Kind.NO_FUNDS),
    ("invalid expiration", Kind.BAD_EXPIRATION),
    ("fok orders are fully filled or killed", Kind.FOK_KILLED),
    ("no orders found to match with fak order", Kind.FAK_UNMATCHED),
    ("not yet ready to process new orders", Kind.NOT_READY),
    ("order match delayed", Kind.IN_DOUBT),
    ("order canceled in the ctf exchange contract", Kind.IN_DOUBT),
    ("context canceled", Kind.IN_DOUBT),
    ("has to be the owner of the api key", Kind.WRONG_SIGNER),
    ("has to be the address of the api key", Kind.WRONG_SIGNER),
    ("address banned", Kind.BANNED),
    ("address in closed only mode", Kind.CLOSED_ONLY),
    ("no orderbook exists", Kind.NO_MARKET),
    ("market not found", Kind.NO_MARKET),
    ("post-only mode", Kind.POST_ONLY_MODE),
    ("trading is currently cancel-only", Kind.CANCEL_ONLY),
    ("trading is currently disabled", Kind.DISABLED),
    ("too many orders in payload", Kind.BAD_REQUEST),
    ("payload exceeds the limit", Kind.BAD_REQUEST),
    ("too many requests", Kind.TOO_FAST),
    ("unauthorized/invalid api key", Kind.NOT_AUTHORISED),
    ("invalid l1 request headers", Kind.NOT_AUTHORISED),
    ("invalid order payload", Kind.BAD_REQUEST),
    ("invalid orderid", Kind.BAD_REQUEST),
    ("invalid token id", Kind.BAD_REQUEST),
    ("invalid side", Kind.BAD_REQUEST),
    ("invalid payload", Kind.BAD_REQUEST),
    ("invalid market", Kind.BAD_REQUEST),
    ("invalid asset type", Kind.BAD_REQUEST),
    ("invalid signature_type", Kind.BAD_REQUEST),
)
_STATUSES: Mapping[int, Kind] = MappingProxyType(
    {
        401: Kind.NOT_AUTHORISED,
        403: Kind.FORBIDDEN,
        404: Kind.NOT_FOUND,
        425: Kind.RESTARTING,
        429: Kind.TOO_FAST,
    }
)
# Behind these statuses nothing was done, whatever the message says.
_SURE = frozenset({Kind.DISABLED, Kind.CANCEL_ONLY, Kind.POST_ONLY_MODE})


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was not done, or of which it is not known. `retry_after_s` None: the venue does not say."""

    kind: Kind
    message: str
    status: int
    retry_after_s: float | None = None
    heartbeat_id: str = ""

    @property
    def reaction(self) -> Reaction:
        """What the client does about it."""
        return REACTIONS[self.kind]


def refusal_of(status: int, body: str | bytes, *, retry_after_s: float | None = None) -> Refusal:
    """Sort an answer that is none of success; a body that cannot be read is judged by its status alone.

    `retry_after_s` is what the header of the answer says, if anything; the body's own wish comes first.
    """
    row = _fields(body)
    message = _text(row.get("error")) or _text(row.get("error_msg")) or _text(row.get("errorMsg"))
    wish = _wish_s(row)
    return Refusal(
        kind=kind_of(message, status=status, code=_text(row.get("code"))),
        message=message,
        status=status,
        retry_after_s=retry_after_s if wish is None else wish,
        heartbeat_id=_text(row.get("heartbeat_id")),
    )


def kind_of(message: str, *, status: int = 400, code: str = "") -> Kind:
    """Sort a message, also one that stands alone in the leg of a batch."""
    if code == "post_only_mode":
        return Kind.POST_ONLY_MODE
    text = message.lower()
    found = next((kind for part, kind in _PARTS if part in text), None)
    if status >= 500:
        return found if found in _SURE else Kind.IN_DOUBT
    # An engine that restarts and a limit answer with whatever text.
    if status in {425, 429}:
        return _STATUSES[status]
    return found or _STATUSES.get(status, Kind.OTHER)


def is_already_over(reason: str) -> bool:
    """Whether an order that was not cancelled has ended before: matched or cancelled, not unknown."""
    text = reason.lower()
    return "already" in text and "not found" not in text


def _fields(body: str | bytes) -> Fields:
    try:
        row = decode_json(body)
    except Malformed:
        return {}
    return row if isinstance(row, dict) else {}


def _text(value: object) -> str:
    return words_of(value, "text") if isinstance(value, str) else ""


def _wish_s(row: Fields) -> float | None:
    try:
        return float(whole_of(row.get("retry_after_seconds"), "retry_after_seconds", most=RETRY_AFTER_S_MAX))
    except Malformed:
        return None
