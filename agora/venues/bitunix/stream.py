"""The account's own stream: logs in on each fresh connection, says whether it lives, and passes pushes on as hints."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import msgspec

from agora.domain.events import UserAlive, UserConnected, UserLost
from agora.domain.numbers import NS_PER_S
from agora.venues.bitunix.line import Line
from agora.venues.bitunix.settings import BitunixSettings
from agora.venues.bitunix.wire import (
    Connected,
    Credentials,
    Frame,
    LoginAnswer,
    Malformed,
    OrderPush,
    PositionPush,
    TpslPush,
    decode_frame,
    login_text,
    ping_text,
    subscribe_private_text,
)
from agora.venues.rest import Network
from agora.venues.websocket import Connection, ConnectionState, ConnectionTerms

# A stream that sends what nobody can read is said to do so once in this time.
UNREADABLE_EVERY_NS = 10 * NS_PER_S

Push = OrderPush | PositionPush | TpslPush


class PrivateSocket(msgspec.Struct, frozen=True):
    """Where the stream is, and as whom."""

    url: str
    network: Network
    credentials: Credentials
    seed: int


class UserStream:
    """Keeps the private socket (protocol `Talk`). `hear` gets a push; `on_gap` is called when some may be missing."""

    def __init__(
        self, line: Line, socket: PrivateSocket, *, hear: Callable[[Push], None], on_gap: Callable[[], None]
    ) -> None:
        self._line = line
        self._credentials = socket.credentials
        self._hear = hear
        self._on_gap = on_gap
        self._connection = Connection(socket.network, _terms(socket, line.settings), self, seed=socket.seed)
        self._is_in = False
        self._is_loss_told = False
        self._refusals = 0
        self._logins = 0
        self._alive_ns = 0
        self._unreadable_ns = 0

    async def run(self) -> None:
        """Until cancelled."""
        await self._connection.run()

    # What is said and heard (protocol `Talk`).

    def on_fresh(self) -> Sequence[str]:
        """Nothing yet: the venue greets first."""
        return ()

    def ping(self) -> str:
        """The keep-alive."""
        return ping_text(self._venue_s())

    def on_state(self, state: ConnectionState, reason: str) -> None:
        """Tell a loss once, however often connecting fails after it."""
        if state is not ConnectionState.LOST:
            return
        if self._is_in or not self._is_loss_told:
            self._line.tell(UserLost(ts_ns=self._line.now_ns, reason=reason))
        self._is_in, self._is_loss_told = False, True

    def on_oversize(self, size_bytes: int) -> None:
        """Whatever it was, it said something."""
        self._note_unreadable(f"a frame of {size_bytes} bytes")

    def on_frame(self, frame: str | bytes) -> bool:
        """Whether it shows that we are logged in: a socket that never lets us in is as good as none."""
        try:
            heard = decode_frame(frame)
        except Malformed as fault:
            self._note_unreadable(str(fault))
            return False
        if isinstance(heard, Connected):
            self._connection.say(self._login())
            return False
        if isinstance(heard, LoginAnswer):
            self._on_login(heard)
        if not self._is_in:
            return False
        self._note_alive()
        self._pass_on(heard)
        return True

    def _pass_on(self, heard: Frame) -> None:
        if isinstance(heard, OrderPush | PositionPush | TpslPush):
            self._hear(heard)

    def _login(self) -> str:
        """A login of now, under a nonce that no other has had."""
        self._logins += 1
        text = f"login {self._line.now_ns} {self._logins}"
        nonce = hashlib.sha256(text.encode()).hexdigest()[:32]
        return login_text(self._credentials, nonce=nonce, now_s=self._venue_s())

    def _venue_s(self) -> int:
        return self._line.venue_ms(self._line.now_ns) // 1_000

    def _on_login(self, answer: LoginAnswer) -> None:
        if not answer.is_accepted:
            self._refusals += 1
            if self._refusals == self._line.settings.login_refusals_max:
                reason = f"auth: the login was refused {self._refusals} times: {answer.message}"
                self._line.tell(UserLost(ts_ns=self._line.now_ns, reason=reason))
            self._connection.drop("login refused")
            return
        self._refusals = 0
        self._is_in, self._is_loss_told = True, False
        self._alive_ns = now_ns = self._line.now_ns
        self._connection.say(subscribe_private_text())
        keepalive_s = round(self._line.settings.keepalive_s)
        self._line.tell(UserConnected(ts_ns=now_ns, source="bitunix", keepalive_s=keepalive_s))
        self._on_gap()

    def _note_alive(self) -> None:
        now_ns = self._line.now_ns
        if now_ns - self._alive_ns >= NS_PER_S:
            self._alive_ns = now_ns
            self._line.tell(UserAlive(ts_ns=now_ns))

    def _note_unreadable(self, what: str) -> None:
        """It may have been about an order: everything is looked at."""
        now_ns = self._line.now_ns
        if now_ns - self._unreadable_ns >= UNREADABLE_EVERY_NS:
            self._unreadable_ns = now_ns
            self._line.err("user stream", what)
        self._on_gap()


def _terms(socket: PrivateSocket, settings: BitunixSettings) -> ConnectionTerms:
    return ConnectionTerms(
        url=socket.url,
        ping_s=settings.keepalive_s,
        silent_s_max=settings.keepalive_s + settings.user_silence_s_max,
        connect_s_max=settings.request_s_max,
        reconnect_s_max=settings.reconnect_s_max,
        frame_bytes_max=settings.frame_bytes_max,
    )
