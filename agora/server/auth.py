"""Who may ask for what: the bearer token, the Host and Origin allow-lists, JSON bodies of bounded size.

The gate stands before every route and socket. Pages of other sites and names that point here without being ours
(DNS rebinding) are refused before any route sees them; whoever changes something shows the token.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import os
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agora.domain.errors import UsageFault
from agora.server.problems import SECURITY_HEADERS, ProblemFault
from agora.session.folder import Home

TOKEN_FILE = "token"  # noqa: S105 - the name of a file
TOKEN_BYTES = 32  # 256 bits: nobody tries them all
TOKEN_CHARS_MIN = 16
TOKEN_CHARS_MAX = 512
BODY_BYTES_MAX = 65_536
# A body of 64 KiB takes milliseconds on a loopback; who needs longer holds a connection for nothing.
BODY_TIMEOUT_S = 10
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
# What a page of another site can send without asking; a request without a body may have any other type.
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")
READING_METHODS = ("GET", "HEAD")
DEFAULT_PORTS: Mapping[str, int] = {"http": 80, "https": 443, "ws": 80, "wss": 443}


class AccessRules(msgspec.Struct, frozen=True, kw_only=True):
    """`hosts`: further names of this server, `name` (on the port it listens on) or `name:port`.

    `needs_token_to_read`: for a server that other machines reach; it then answers to any address of its machine
    (rebinding needs a name, and no page of others has the token).
    """

    token: str
    hosts: tuple[str, ...] = ()
    needs_token_to_read: bool = False


def token_of(home: Home) -> str:
    """The token of this home, made on first use for its owner only; raises `UsageFault` when it is unsafe."""
    home.prepare()
    path = home.path / TOKEN_FILE
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return _read_token(path)
    with os.fdopen(file, "w") as opened:
        token = secrets.token_urlsafe(TOKEN_BYTES)
        opened.write(token + "\n")
    return token


def _read_token(path: Path) -> str:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as fault:
        raise UsageFault(f"cannot read the token {path}: {fault.strerror}") from None
    try:
        mode = os.fstat(file).st_mode
        text = os.read(file, TOKEN_CHARS_MAX + 1).decode(errors="replace").strip()
    finally:
        os.close(file)
    if mode & 0o077:
        raise UsageFault(f"the token {path} can be read by others: chmod 600 it, or delete it to get a new one")
    if not TOKEN_CHARS_MIN <= len(text) <= TOKEN_CHARS_MAX or not text.isascii() or not text.isprintable():
        raise UsageFault(f"the token {path} is not {TOKEN_CHARS_MIN} or more plain characters; delete it for a new one")
    return text


def access_of(host: str, token: str) -> AccessRules:
    """On a loopback address reading is free; on any other the token is wanted for everything."""
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = host == "localhost"
    return AccessRules(token=token, hosts=(host.lower(),), needs_token_to_read=not is_loopback)


class Gate:
    """ASGI middleware that lets through what `AccessRules` allow and puts the security headers on every answer."""

    def __init__(self, app: ASGIApp, *, rules: AccessRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request or socket through, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
            if scope["type"] == "http" and scope["method"] not in READING_METHODS:
                receive = await _with_checked_body(scope, receive)
        except ProblemFault as fault:
            await _refuse(fault, scope, send)
            return
        await self._app(scope, receive, _with_security_headers(send) if scope["type"] == "http" else send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not self._is_ours(host, scope, "http"):
            raise ProblemFault(HTTPStatus.FORBIDDEN, "foreign-host", "this server does not answer to that name")
        origins = headers.getlist("origin")
        if any(not self._is_own_origin(origin, scope) for origin in origins):
            raise ProblemFault(HTTPStatus.FORBIDDEN, "foreign-origin", "pages of other sites may not ask here")
        is_read = scope["type"] == "websocket" or scope["method"] in READING_METHODS
        if is_read and not self._rules.needs_token_to_read:
            return
        if not self._has_token(headers.getlist("authorization")):
            raise ProblemFault(
                HTTPStatus.UNAUTHORIZED, "token-needed", "send the token of AGORA_HOME/token: Authorization: Bearer …"
            )

    def _has_token(self, values: list[str]) -> bool:
        """One header with the token; compared in constant time."""
        if len(values) != 1:
            return False
        scheme, _, given = values[0].partition(" ")
        is_same = hmac.compare_digest(given.strip().encode(), self._rules.token.encode())
        return is_same and scheme.lower() == "bearer"

    def _is_own_origin(self, origin: str, scope: Scope) -> bool:
        """`null` (a sandboxed page, a file) is nobody's."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        is_bare = not (parts.path or parts.query or parts.fragment)
        return parts.scheme in ("http", "https") and is_bare and self._is_ours(parts.netloc, scope, parts.scheme)

    def _is_ours(self, authority: str, scope: Scope, scheme: str) -> bool:
        """Whether `host` or `host:port` names this server."""
        text = authority.lower()
        if text in self._rules.hosts:
            return True
        name, separator, port = text.rpartition(":")
        if not separator or text.endswith("]"):
            name, port = text, str(DEFAULT_PORTS[scheme])
        is_address = self._rules.needs_token_to_read and _is_address(name)
        if name not in LOOPBACK_HOSTS and name not in self._rules.hosts and not is_address:
            return False
        server = scope.get("server")
        return server is not None and port == str(server[1])


def _is_address(name: str) -> bool:
    """Whether a name of a URL is an IP address: it cannot be made to point elsewhere."""
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


async def _with_checked_body(scope: Scope, receive: Receive) -> Receive:
    """The body of a mutation, read before any route sees it: at most `BODY_BYTES_MAX`, JSON or nothing."""
    headers = Headers(scope=scope)
    if int(headers.get("content-length", "0")) > BODY_BYTES_MAX:  # the server has checked that it is a number
        raise _too_large()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            body = await _read_body(receive)
    except TimeoutError:
        raise ProblemFault(HTTPStatus.REQUEST_TIMEOUT, "too-slow", f"no body within {BODY_TIMEOUT_S} s") from None
    content_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    is_nothing = not body and content_type not in FORM_TYPES
    if content_type != "application/json" and not is_nothing:
        raise ProblemFault(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "json-only", "send JSON with Content-Type: application/json"
        )
    replay: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return replay.pop() if replay else await receive()

    return receive_again


async def _read_body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    size_bytes = 0
    while True:
        message = await receive()
        piece = message.get("body", b"")
        size_bytes += len(piece)
        if size_bytes > BODY_BYTES_MAX:
            raise _too_large()
        pieces.append(piece)
        # Who hangs up has no more body; the answer then goes nowhere.
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_large() -> ProblemFault:
    return ProblemFault(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large", f"a body may have {BODY_BYTES_MAX} bytes at most"
    )


async def _refuse(fault: ProblemFault, scope: Scope, send: Send) -> None:
    """Answer with the problem; a WebSocket is refused before it is one, with the same answer."""
    response = fault.response()
    is_http = scope["type"] == "http"
    if is_http and scope["method"] not in READING_METHODS:  # its body was not read to the end, and is not waited for
        response.headers["connection"] = "close"
    kind = "http.response" if is_http else "websocket.http.response"
    await send({"type": f"{kind}.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": f"{kind}.body", "body": bytes(response.body)})


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).update(SECURITY_HEADERS)
        await send(message)

    return send_with_headers
