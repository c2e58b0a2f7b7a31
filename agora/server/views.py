"""What the API shows and takes: the port of a market, and the bodies of requests and answers with their limits.

Answers are documented here and encoded from plain values elsewhere; requests are checked here, strictly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

# A book of more levels is a download, not a view.
DEPTH_MAX = 100
TRADES_MAX = 1_000
CANDLES_MAX = 1_000
# Those that the exchange keeps.
INTERVALS = ("1s", "10s", "1m", "5m", "15m", "1h", "4h", "1d")
# A headline and a paragraph; all agents read it, and a prompt pays for every word.
NEWS_CHARS_MAX = 500
REASON_CHARS_MAX = 500
SYMBOLS_MAX = 64


class PublicMarket(Protocol):
    """What anybody may see of a market. Each call returns plain values, all of one tick."""

    @property
    def symbols(self) -> Sequence[str]:
        """All assets."""
        ...

    def book(self, symbol: str, depth: int) -> dict[str, Any]:
        """The best levels: the body of `Book`."""
        ...

    def trades(self, symbol: str, limit: int) -> list[dict[str, Any]]:
        """The newest trades, oldest first: bodies of `Trade`."""
        ...

    def candles(self, symbol: str, interval: str, *, limit: int) -> list[dict[str, Any]]:
        """The newest candles, oldest first: bodies of `Candle`."""
        ...

    def rules(self) -> dict[str, Any]:
        """The rule card."""
        ...


class MarketSource(PublicMarket, Protocol):
    """A market as the server reads it, between two ticks and without awaiting."""

    @property
    def run_id(self) -> str:
        """The run that this market is."""
        ...

    @property
    def status(self) -> str:
        """`ready`, `running`, `paused` or `ended`."""
        ...

    @property
    def tick(self) -> int:
        """The last tick that is done."""
        ...

    def prices(self) -> dict[str, float]:
        """The last price of each asset."""
        ...

    def state(self) -> dict[str, Any]:
        """The body of `State`."""
        ...

    def agents(self) -> list[dict[str, Any]]:
        """Bodies of `AgentRow`."""
        ...


class Listener(Protocol):
    """Who hears of trades and news as they happen; takes them at once, never fails."""

    def add_trades(self, trades: Iterable[dict[str, Any]]) -> None:
        """Trades of a tick: bodies of `Trade` with their `symbol`."""
        ...

    def add_news(self, news: dict[str, Any]) -> None:
        """A news item that the market has taken in."""
        ...


class MarketPort(MarketSource, Protocol):
    """A market that also talks and can be told something."""

    def tell(self, listener: Listener) -> None:
        """Let a listener hear of trades and news from now on."""
        ...

    def command(self, name: str, reason: str) -> bool:
        """Take `start`, `stop`, `pause` or `step` in before the next tick; False when it takes nothing now."""
        ...

    def add_news(self, news: News) -> bool:
        """Take a news item in before the next tick; False when it takes nothing now."""
        ...


# Line breaks and tabs are text; other control characters move cursors and end strings, and the characters that turn
# the direction of writing make a headline look like another. Half a surrogate pair is refused as no text at all.
TEXT_PATTERN = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]*$"

Reason = Annotated[str, Field(max_length=REASON_CHARS_MAX, pattern=TEXT_PATTERN)]
Symbol = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,32}$")]


class Order(BaseModel):
    """What a mutation of the market may say."""

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra={"examples": [{"reason": "lunch"}]})

    reason: Reason = "operator"


class RunOrder(BaseModel):
    """What a mutation of a run may say; `nonce` is what the first step of a kill or flatten answered."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "venue looks wrong"}, {"nonce": "hJ0d…"}]},
    )

    reason: Reason = "operator"
    nonce: Annotated[str, Field(max_length=64, pattern=TEXT_PATTERN)] = ""


class News(BaseModel):
    """A news item for all agents to read; `tone` from -1 (bad) to 1 (good), no symbols: about the whole market."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"examples": [{"text": "ARBO wins a large order", "tone": 0.6, "symbols": ["ARBO"]}]},
    )

    text: Annotated[str, Field(min_length=1, max_length=NEWS_CHARS_MAX, pattern=TEXT_PATTERN)]
    tone: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)] = 0.0
    symbols: Annotated[list[Symbol], Field(max_length=SYMBOLS_MAX)] = []
    source: Annotated[str, Field(max_length=100, pattern=TEXT_PATTERN)] = "operator"


class Accepted(BaseModel):
    """What a mutation answers: `applied` is False while a second step is wanted, which then needs the `nonce`."""

    applied: bool
    command: str
    status: str = ""
    nonce: str | None = None
    expires_in_s: int | None = None
    detail: str = ""


class Health(BaseModel):
    """That the server is there, and what it serves."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"status": "ok", "running": True, "run": "20260101T120000Z-market", "market": "running", "tick": 120}
            ]
        }
    )

    status: Literal["ok"]
    running: bool
    run: str
    market: str
    tick: int
    version: str
    clients: int


class State(BaseModel):
    """The market at the end of one tick."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prices": {"ARBO": 101.25},
                    "tickers": {"ARBO": 101.25},
                    "assets": ["ARBO"],
                    "quote_currency": "USD",
                    "tick": 120,
                    "status": "running",
                    "sentiment": {"overall": 0.1, "by_asset": {"ARBO": 0.1}},
                    "metrics": {"trades": 340},
                    "history": [{"tick": 120, "prices": {"ARBO": 101.25}}],
                }
            ]
        }
    )

    prices: dict[str, float]
    tickers: dict[str, float]
    assets: list[str]
    quote_currency: str
    tick: int
    sentiment: dict[str, Any]
    metrics: dict[str, Any]
    history: list[dict[str, Any]]


class PortfolioBody(BaseModel):
    """Money in the quote currency; `pnl` repeats `total_pnl`, `portfolio_value` repeats `total_value`."""

    cash: float
    positions: dict[str, Any]
    realized_pnl: float
    unrealized_pnl: float
    total_pnl: float
    pnl: float
    total_value: float
    portfolio_value: float
    roi: float
    pnl_percent: float
    initial_capital: float
    trades_count: int


class AgentRow(BaseModel):
    """An agent and what it owns; `model` is empty for a rule-based one."""

    id: str
    persona: str
    model: str
    portfolio: PortfolioBody


class Level(BaseModel):
    """All orders at one price."""

    price: float
    size: float


class Book(BaseModel):
    """The best levels of both sides, best first."""

    symbol: str
    tick: int
    bids: list[Level]
    asks: list[Level]


class Trade(BaseModel):
    """A trade; `side` is that of the order that crossed the spread."""

    id: int
    ts_ns: int
    price: float
    size: float
    side: str


class Candle(BaseModel):
    """One interval of trades; the last one is still forming."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    trades: int


class RunRow(BaseModel):
    """A run: `running`, `ended` (then with its report) or `interrupted`."""

    run: str
    state: str
    venue: str | None
    traders: list[str] | None
    symbols: list[str] | None
    seed: int | None
    latest: dict[str, Any] | None
    report: dict[str, Any] | None


class EventPage(BaseModel):
    """Journal records in order; ask again with `after=last_seq` while `has_more`."""

    events: list[dict[str, Any]]
    last_seq: int
    has_more: bool


class MetricsPage(BaseModel):
    """The newest rows of a run's metrics, oldest first; unknown cells are null."""

    columns: list[str]
    rows: list[list[str | None]]


class Problem(BaseModel):
    """What went wrong (RFC 9457); `type` is stable, `detail` is for people."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"type": "not-found", "title": "Not found", "status": 404, "detail": "…"}]}
    )

    type: str
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] = []
