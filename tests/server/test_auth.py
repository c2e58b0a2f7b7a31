"""Who gets in: the token, names and pages of others, forms, sizes; the same before the socket."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest

from agora.domain.errors import UsageFault
from agora.server.auth import BODY_BYTES_MAX, TOKEN_FILE, access_of, token_of
from agora.session.folder import Home
from tests.server.markets import AUTHORIZED, TOKEN, Served, served
from tests.server.sockets import handshake
from tests.server.test_app import conducted

JSON = {"Content-Type": "application/json"}
NEWS = b'{"text":"a headline"}'


async def raw(server: Served, request: bytes) -> tuple[int, bytes]:
    """Status and everything that came, for a request exactly as written."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.address.port)
    try:
        writer.write(request)
        async with asyncio.timeout(5):
            answer = await reader.read()
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1]), answer


def request(method: str, path: str, *, host: str, body: bytes = b"", more: str = "") -> bytes:
    """A request as text, to say what clients refuse to say."""
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def test_the_token_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    """Mode 0600, long, the same at the next start."""
    home = Home(tmp_path)
    token = token_of(home)
    assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o777 == 0o600
    assert len(token) >= 43
    assert token_of(home) == token
    assert token_of(Home(tmp_path / "other")) != token


@pytest.mark.parametrize(
    "name, content, mode",
    [
        ("readable by others", "x" * 43, 0o644),
        ("writable by the group", "x" * 43, 0o660),
        ("empty", "", 0o600),
        ("short", "secret", 0o600),
        ("strange characters", "x" * 43 + "\x00", 0o600),
        ("a whole file", "x" * 100_000, 0o600),
    ],
)
def test_an_unsafe_token_is_refused_with_the_way_out(tmp_path: Path, name: str, content: str, mode: int) -> None:
    """The message names the file and never its content."""
    path = tmp_path / TOKEN_FILE
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(UsageFault, match="delete it") as refusal:
        token_of(Home(tmp_path))
    assert str(path) in str(refusal.value), name
    assert "xxxx" not in str(refusal.value)


def test_a_token_that_is_a_link_is_refused(tmp_path: Path) -> None:
    """What somebody else put there is not followed, there or not."""
    (tmp_path / TOKEN_FILE).symlink_to("/etc/hostname")
    with pytest.raises(UsageFault, match="cannot read the token"):
        token_of(Home(tmp_path))
    (tmp_path / TOKEN_FILE).unlink()
    os.mkfifo(tmp_path / TOKEN_FILE, 0o600)
    with pytest.raises(UsageFault):
        token_of(Home(tmp_path))


def test_mutations_want_the_token(tmp_path: Path) -> None:
    """401 with the scheme named for everything else than exactly the token; nothing reaches the market."""

    async def script(server: Served) -> None:
        for value in (
            None,
            "",
            "Bearer",
            "Bearer ",
            f"Basic {TOKEN}",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            TOKEN,
        ):
            headers = {} if value is None else {"Authorization": value}
            for path in ("/news", "/simulation/stop", "/runs/latest/kill", "/nowhere"):
                async with server.client.post(server.url + path, json={"text": "x"}, headers=headers) as answer:
                    assert answer.status == 401, (value, path)
                    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        twice = f"Authorization: Bearer {TOKEN}\r\nAuthorization: Bearer other\r\nContent-Type: application/json\r\n"
        host = f"127.0.0.1:{server.address.port}"
        assert (await raw(server, request("POST", "/news", host=host, body=NEWS, more=twice)))[0] == 401
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            async with server.client.request(method, server.url + "/state") as answer:
                assert answer.status == 401
        assert (server.market.news, server.market.told) == ([], [])
        assert (await server.post("/news", {"text": "x"}))[0] == 202

    conducted(tmp_path, script)


def test_names_that_are_not_ours_are_refused(tmp_path: Path) -> None:
    """DNS rebinding: a foreign name that points here gets nothing, read or write, whatever its port or spelling."""

    async def script(server: Served) -> None:
        port = server.address.port
        good = (f"127.0.0.1:{port}", f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", f"box.lan:{port}")
        for host in (*good, "proxy.lan:8443"):
            assert (await raw(server, request("GET", "/state", host=host)))[0] == 200, host
        bad = (
            *("evil.example", f"evil.example:{port}", f"127.0.0.1.evil.example:{port}", f"localhost.:{port}", "", ":"),
            *("127.0.0.1", f"127.0.0.1:{port + 1}", "localhost:80", f"[::2]:{port}", "proxy.lan", f"proxy.lan:{port}"),
            *(f"evil@127.0.0.1:{port}", f"localhost:{port}:{port}", f"0.0.0.0:{port}", "[::1]", "localhost:"),
        )
        for host in bad:
            status, answer = await raw(server, request("GET", "/state", host=host))
            assert status in {400, 403}, host
            assert b"prices" not in answer
            assert (await raw(server, handshake(port, Host=host)))[0] in {400, 403}, host

    conducted(tmp_path, script, access={"hosts": ("box.lan", "proxy.lan:8443")})


def test_pages_of_other_sites_are_refused(tmp_path: Path) -> None:
    """A foreign Origin reads nothing and changes nothing, token or not; ours may; no CORS header is ever sent."""

    async def script(server: Served) -> None:
        port = server.address.port
        foreign = (
            *("https://evil.example", "null", "", "file://", f"http://127.0.0.1:{port + 1}", "http://localhost"),
            *(f"http://evil.example:{port}", f"ftp://127.0.0.1:{port}", f"http://127.0.0.1:{port}/page", "http://[::1"),
        )
        for origin in foreign:
            for path in ("/state", "/health", "/runs"):
                async with server.client.get(server.url + path, headers={"Origin": origin}) as answer:
                    assert answer.status == 403, origin
                    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
            assert (await server.post("/news", {"text": "x"}, headers={**AUTHORIZED, "Origin": origin}))[0] == 403
            assert (await raw(server, handshake(port, Origin=origin)))[0] == 403, origin
        for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
            assert (await server.get("/state", headers={"Origin": origin}))[0] == 200
            async with server.client.ws_connect(server.url + "/ws", origin=origin) as client:
                assert (await client.receive_json())["type"] == "snapshot"
        assert server.market.news == []

    conducted(tmp_path, script)


def test_forms_and_other_bodies_are_refused(tmp_path: Path) -> None:
    """What a page of another site could send without asking (forms, plain text) is no command, even with the token."""

    async def script(server: Served) -> None:
        kinds = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/json", "")
        for kind in (*kinds, "application/json-patch+json", "application/jsonx"):
            headers = {**AUTHORIZED, "Content-Type": kind}
            async with server.client.post(server.url + "/news", data=NEWS, headers=headers) as answer:
                assert answer.status == 415, kind
        headers = {**AUTHORIZED, "Content-Type": "text/plain"}
        async with server.client.post(server.url + "/simulation/stop", headers=headers) as answer:
            assert answer.status == 415
        for kind in ("application/json", "Application/JSON; charset=utf-8"):
            headers = {**AUTHORIZED, "Content-Type": kind}
            async with server.client.post(server.url + "/news", data=NEWS, headers=headers) as answer:
                assert answer.status == 202, kind
        assert (len(server.market.news), server.market.told) == (2, [])

    conducted(tmp_path, script)


def test_a_body_has_a_bounded_size(tmp_path: Path) -> None:
    """64 KiB: announced or in pieces without an end, more is refused before a route sees it."""

    async def script(server: Served) -> None:
        headers = {**AUTHORIZED, **JSON}
        padded = NEWS + b" " * (BODY_BYTES_MAX - len(NEWS))
        for body, status in ((padded, 202), (padded + b" ", 413)):
            async with server.client.post(server.url + "/news", data=body, headers=headers) as answer:
                assert answer.status == status
        chunk = b"400\r\n" + b" " * 1_024 + b"\r\n"
        head = f"POST /news HTTP/1.1\r\nHost: 127.0.0.1:{server.address.port}\r\nAuthorization: Bearer {TOKEN}\r\n"
        head += "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert (await raw(server, head.encode() + chunk * 65))[0] == 413
        assert len(server.market.news) == 1

    conducted(tmp_path, script)


def test_markup_in_news_is_text_for_every_reader(tmp_path: Path) -> None:
    """Stored as sent, served as JSON that no browser takes for a page: type, nosniff, policy, no frame."""

    async def script(server: Served) -> None:
        text = "<script>fetch('/simulation/stop',{method:'POST'})</script><img src=x onerror=alert(1)>"
        assert (await server.post("/news", {"text": text}))[0] == 202
        assert server.market.news[0].text == text
        async with server.client.get(server.url + "/state") as answer:
            assert answer.headers["Content-Type"] == "application/json"
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'self'")
            assert "Set-Cookie" not in answer.headers
        async with server.client.get(f"{server.url}/book/<script>alert(1)<script>") as answer:
            assert answer.content_type == "application/problem+json"
            assert "<script>" not in await answer.text()

    conducted(tmp_path, script)


def test_a_server_for_other_machines_wants_the_token_for_everything(tmp_path: Path) -> None:
    """Reading and the socket too, when it listens beyond this machine."""

    async def main() -> None:
        async with served(tmp_path, access={"needs_token_to_read": True}) as server:
            assert (await server.get("/state"))[0] == 401
            assert (await server.get("/state", headers=AUTHORIZED))[0] == 200
            status, answer = await raw(server, handshake(server.address.port))
            assert status == 401
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["type"] == "token-needed"
            async with server.client.ws_connect(server.url + "/ws", headers=AUTHORIZED) as client:
                assert (await client.receive_json())["type"] == "snapshot"
            port, more = server.address.port, f"Authorization: Bearer {TOKEN}\r\n"
            for host, expected in (("192.0.2.7", 200), ("[2001:db8::7]", 200), ("evil.example", 403)):
                answered, _ = await raw(server, request("GET", "/state", host=f"{host}:{port}", more=more))
                assert answered == expected, host

    asyncio.run(main())


@pytest.mark.parametrize(
    "host, is_free",
    [("127.0.0.1", True), ("127.0.0.9", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("::", False)],  # noqa: S104 - compared, not bound
)
def test_reading_is_free_on_loopback_addresses_only(host: str, is_free: bool) -> None:
    """Any other address wants the token for everything."""
    assert access_of(host, "t").needs_token_to_read is not is_free
    assert access_of("box.lan", "t").needs_token_to_read
