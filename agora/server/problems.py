"""Errors as problem objects (RFC 9457) and the headers of every answer. Never a stack trace, never what was sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

LOGGER = logging.getLogger("agora.server")
PROBLEM_TYPE = "application/problem+json"
# A body with a thousand faults is answered with the first ones.
FAULTS_SHOWN_MAX = 20

# Pages of ours load from us alone, run in no foreign frame, and nothing is kept in a cache.
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


class ProblemFault(Exception):
    """A request that gets a problem object as its answer; `type` is a stable word for scripts."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        self.status = status
        self.kind = kind
        self.detail = detail
        super().__init__(detail)

    def response(self) -> Response:
        """The answer."""
        headers = {"www-authenticate": 'Bearer realm="agora"'} if self.status == HTTPStatus.UNAUTHORIZED else {}
        return problem(self.status, self.kind, self.detail, headers=headers)


def problem(
    status: int,
    kind: str,
    detail: str,
    *,
    errors: list[dict[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem object with the headers of every answer."""
    body: dict[str, Any] = {"type": kind, "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if errors:
        body["errors"] = errors
    return Response(
        msgspec.json.encode(body),
        status_code=status,
        media_type=PROBLEM_TYPE,
        headers={**SECURITY_HEADERS, **(headers or {})},
    )


def json_answer(value: Any, *, status: int = 200) -> Response:
    """Plain values as JSON."""
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def register(app: FastAPI) -> None:
    """Let every error of an app leave as a problem object."""
    app.add_exception_handler(ProblemFault, _on_problem)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_bug)


async def _on_problem(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, ProblemFault)
    return fault.response()


async def _on_http(_: Request, fault: Exception) -> Response:
    assert isinstance(fault, HTTPException)
    phrase = HTTPStatus(fault.status_code).phrase
    kind = phrase.lower().replace(" ", "-")
    return problem(fault.status_code, kind, str(fault.detail), headers=fault.headers)


async def _on_invalid(_: Request, fault: Exception) -> Response:
    """Where and what is wrong; not the value, which is the sender's."""
    assert isinstance(fault, RequestValidationError)
    errors = [
        {"where": [_shown(part) for part in error["loc"]], "what": _shown(error["msg"])}
        for error in fault.errors()[:FAULTS_SHOWN_MAX]
    ]
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", "the request is not as the API describes", errors=errors)


def _shown(part: object) -> str:
    """A name or sentence out of a request: short, and storable whatever was sent."""
    return str(part)[:100].encode(errors="replace").decode()


async def _on_bug(request: Request, fault: Exception) -> Response:
    """The server raises it again for the log; the sender learns that it was not his fault."""
    LOGGER.error("%s %s failed: %s", request.method, request.scope["path"][:200], type(fault).__name__)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "bug", "a fault of the server, noted in its log")
