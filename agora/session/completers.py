"""Chooses the completer of the settings. The optional library is imported by its completer alone, when one is made."""

from __future__ import annotations

from collections.abc import MutableMapping

from agora.session.completer import Completer
from agora.session.completer_litellm import LiteLlmCompleter
from agora.session.completer_openai import OpenAiCompleter
from agora.session.credentials import Secret
from agora.session.llm_settings import LlmSettings


def completer_of(settings: LlmSettings, key: Secret | None, environment: MutableMapping[str, str]) -> Completer | None:
    """What asks the model; None where nobody is to be asked (a strict replay). Raises `UsageFault`."""
    if settings.is_replay:
        return None
    if settings.completer == "litellm":
        return LiteLlmCompleter(
            base_url=settings.base_url, key=key, connections=settings.concurrency, environment=environment
        )
    return OpenAiCompleter(base_url=settings.base_url, key=key, connections=settings.concurrency)
