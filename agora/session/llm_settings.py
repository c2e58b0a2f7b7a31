"""How language models are asked: which, where, how long, how often, at what cost; and what is kept of it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_MONEY = r"^\d{1,12}(\.\d{1,8})?$"
_PRICE = r"^(\d{1,6}(\.\d{1,8})?)?$"


class LlmSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The questions to models. Prices and costs are money of the provider's currency."""

    model: Annotated[
        str, Meta(max_length=200, pattern=r"^\S*$", description="the model's name (empty: no model, rules only)")
    ] = ""
    base_url: Annotated[
        str,
        Meta(
            max_length=1_000,
            pattern=r"^(https?://\S+)?$",
            description="address of an OpenAI-compatible provider, e.g. http://127.0.0.1:8001/v1",
        ),
    ] = ""
    completer: Annotated[
        str,
        Meta(pattern="^(openai|litellm)$", description="openai: small and built in; litellm: many providers, an extra"),
    ] = "openai"
    deadline_ms: Annotated[
        int,
        Meta(ge=50, le=600_000, description="time for one decision with all its attempts, ms; then the twin decides"),
    ] = 2_000
    concurrency: Annotated[int, Meta(ge=1, le=1_000, description="questions under way at one provider")] = 50
    rpm: Annotated[
        int, Meta(ge=0, le=1_000_000, description="questions in any 60 s at one provider (0: no limit of ours)")
    ] = 0
    tpm: Annotated[
        int, Meta(ge=0, le=1_000_000_000, description="tokens in any 60 s at one provider (0: no limit of ours)")
    ] = 0
    max_tokens: Annotated[int, Meta(ge=16, le=65_536, description="longest answer, tokens")] = 1_024
    temperature_ppm: Annotated[
        int, Meta(ge=0, le=2_000_000, description="temperature of the model, ppm (1000000: 1.0)")
    ] = 200_000
    retries_max: Annotated[
        int, Meta(ge=0, le=10, description="further attempts within the deadline after a passing fault")
    ] = 2
    max_cost: Annotated[
        str, Meta(pattern=_MONEY, description="largest cost of all questions of a run; never exceeded")
    ] = "1"
    input_price_per_million: Annotated[
        str, Meta(pattern=_PRICE, description="price of a million tokens of prompt (empty: unknown)")
    ] = ""
    output_price_per_million: Annotated[
        str, Meta(pattern=_PRICE, description="price of a million tokens of answer (empty: unknown)")
    ] = ""
    allow_unknown_price: Annotated[
        bool, Meta(description="ask although the price is unknown: the cost limit then holds for nothing")
    ] = False
    cassette: Annotated[str, Meta(max_length=4_096, description="file that keeps the answers (empty: none)")] = ""
    cassette_mode: Annotated[
        str,
        Meta(
            pattern="^(live|record|replay|auto)$",
            description="live: not used; record: ask and keep; replay: never ask; auto: ask and keep what is missing",
        ),
    ] = "auto"

    def __post_init__(self) -> None:
        """Refuse settings that cannot be meant together."""
        if bool(self.input_price_per_million) != bool(self.output_price_per_million):
            raise ValueError("input_price_per_million and output_price_per_million are known together or not at all")
        if self.model and self.completer == "openai" and not (self.base_url or self.is_replay):
            raise ValueError("completer openai needs a base_url, e.g. --set llm.base_url=http://127.0.0.1:8001/v1")
        if self.is_replay and not self.cassette:
            raise ValueError("cassette_mode replay needs a cassette")

    @property
    def is_replay(self) -> bool:
        """Whether nobody is asked."""
        return self.cassette_mode == "replay"
