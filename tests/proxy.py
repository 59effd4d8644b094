"""A TCP proxy that stands for the SSH tunnel: it breaks, stalls, slows and loses what passes, as the test tells it while it runs.

    with Proxy("/path/redis.sock") as proxy:
        connection = redis.Redis.from_url(proxy.redis_url)
        proxy.black_hole()
        ...
        proxy.heal()

It listens on a port of 127.0.0.1 of its own and forwards to a Redis or MariaDB behind a unix socket or (host, port). Every method takes
effect before it returns and may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Self, TypeVar

T = TypeVar("T")
#: A unix socket's path, or host and port.
Address = str | tuple[str, int]
#: Which requests a rule is about: those that have these bytes in them, or for which this is true.
Match = bytes | Callable[[bytes], bool]

#: Bytes that pass at a time; few where the rate is limited, so that those of two connections take turns.
PIECE, SLOW_PIECE = 1 << 16, 1 << 10
#: SO_LINGER with no time to linger: a close sends RST and drops what is unsent.
_AT_ONCE = struct.pack("ii", 1, 0)


@dataclass(slots=True, eq=False)
class _Rule:
    """What to do with requests that match: reset the connection in place of sending them, or in place of the reply."""

    match: Match
    after: bool
    #: How often it is left, None for ever; and out of how many requests that match it takes one.
    left: int | None = 1
    every: int = 1
    seen: int = 0

    def matches(self, request: bytes) -> bool:
        return self.match in request if isinstance(self.match, bytes) else self.match(request)

    def takes_next(self) -> bool:
        """Count one more request that matches; tell whether this one is to suffer."""
        if self.left == 0:
            return False
        self.seen += 1
        if self.seen % self.every:
            return False
        if self.left is not None:
            self.left -= 1
        return True


class _Direction:
    """One way of the tunnel, shared by all connections: how late and how fast bytes pass."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.rate: float | None = None
        self.passed = 0
        self._free_at = 0.0

    async def pass_on(self, size: int) -> None:
        """Wait as long as so many bytes take."""
        now = asyncio.get_running_loop().time()
        if self.rate:
            self._free_at = max(self._free_at, now) + size / self.rate
            await asyncio.sleep(self._free_at - now)
        if self.delay:
            await asyncio.sleep(self.delay)
        self.passed += size

    @property
    def piece(self) -> int:
        return SLOW_PIECE if self.rate else PIECE


class _Dropped(Exception):
    """A rule resets this connection."""


class Proxy:
    """The tunnel, in a thread of its own; healed at first."""

    def __init__(self, upstream: Address) -> None:
        """Name the server; nothing runs before `start`, or the `with` block."""
        self.upstream = upstream
        self.port = 0
        #: How many connections rules have reset.
        self.dropped = 0
        self._rules: list[_Rule] = []
        self._up, self._down = _Direction(), _Direction()
        self._links: dict[asyncio.Task[None], _Link] = {}
        self._resets_all = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._gate = asyncio.Event()
        self._gate.set()
        self._closed_gates: list[asyncio.Event] = []
        self._listener: socket.socket | None = None
        self._listens = False

    def start(self) -> None:
        """Listen."""
        self._thread.start()
        # Linux keeps a port for a socket that stops listening only if the socket had asked for it by its number.
        with _bound(0) as probe:
            self.port = probe.getsockname()[1]
            self._listener = _bound(self.port)
        self._do(self._listen)

    def close(self) -> None:
        """Reset what is connected and end the thread."""
        self._do(self._stop_listening)
        self._await(self._reset_links())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._listener:
            self._listener.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def redis_url(self) -> str:
        """The URL of the Redis behind the proxy."""
        return f"redis://127.0.0.1:{self.port}/0"

    # -- faults --

    def reset(self) -> None:
        """Reset all connections, and each new one as soon as it is there, until healed."""
        async def now() -> None:
            self._resets_all = True
            await self._reset_links()

        self._await(now())

    def refuse(self) -> None:
        """Reset all connections and refuse new ones, until healed: nobody listens."""
        async def now() -> None:
            self._stop_listening()
            await self._reset_links()

        self._await(now())

    def cut(self) -> None:
        """Reset all connections once; new ones are served."""
        self._await(self._reset_links())

    def black_hole(self) -> None:
        """Keep and accept connections, and let no byte pass, until healed. What was sent meanwhile passes then."""
        def now() -> None:
            if self._gate.is_set():
                self._gate = asyncio.Event()
                for link in self._links.values():
                    link.gate = self._gate

        self._do(now)

    def delay(self, seconds: float) -> None:
        """Let everything come so much later, each way."""
        self._up.delay = self._down.delay = seconds

    def rate(self, bits_per_second: float | None) -> None:
        """Let no more pass, each way, all connections together; None: as much as comes."""
        self._up.rate = self._down.rate = bits_per_second / 8 if bits_per_second else None

    def drop_request(self, match: Match = b"", *, times: int | None = 1, every: int = 1) -> None:
        """Reset the connection in place of sending the next `times` (None: all) requests that match, or one out of `every`."""
        self._add(_Rule(match, after=False, left=times, every=every))

    def drop_reply(self, match: Match = b"", *, times: int | None = 1, every: int = 1) -> None:
        """The same, but the request reaches the server, and what its client sees is a reset after the server has carried it out.

        A pipeline of more than one piece may be cut in the middle, as on any link.
        """
        self._add(_Rule(match, after=True, left=times, every=every))

    def divert(self, upstream: Address) -> None:
        """Reset all connections; new ones lead to another server."""
        self.upstream = upstream
        self._await(self._reset_links())

    def heal(self, *, hold: bool = False) -> None:
        """End every fault. With `hold` what a black hole swallowed stays there until the next `heal`: only new connections work."""
        self.delay(0)
        self.rate(None)

        def now() -> None:
            self._rules.clear()
            self._resets_all = False
            if not self._gate.is_set():
                self._closed_gates.append(self._gate)
                self._gate = asyncio.Event()
                self._gate.set()
            while not hold and self._closed_gates:
                self._closed_gates.pop().set()
            self._listen()

        self._do(now)

    # -- looking --

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return self._do(lambda: len(self._links))

    @property
    def held(self) -> int:
        """How many bytes of requests wait in a black hole, up to one piece a connection."""
        return self._do(lambda: sum(link.held for link in self._links.values()))

    @property
    def passed(self) -> tuple[int, int]:
        """How many bytes have passed to the server and back."""
        return self._do(lambda: (self._up.passed, self._down.passed))

    # -- own --

    def _do(self, what: Callable[[], T]) -> T:
        async def run() -> T:
            return what()

        return self._await(run())

    def _await(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    def _add(self, rule: _Rule) -> None:
        self._do(lambda: self._rules.append(rule))

    def _listen(self) -> None:
        assert self._listener
        if not self._listens:
            self._listener.listen(128)
            self._loop.add_reader(self._listener, self._accept, self._listener)
            self._listens = True

    def _stop_listening(self) -> None:
        """Refuse connections, and keep the port: nobody else may get it meanwhile."""
        assert self._listener
        if self._listens:
            self._loop.remove_reader(self._listener)
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listens = False

    async def _reset_links(self) -> None:
        links = dict(self._links)
        for task, link in links.items():
            link.reset_at_end()
            task.cancel()
        while any(task in self._links for task in links):
            await asyncio.sleep(0)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionError):  # gone again
            return
        if self._resets_all:
            _reset_at_end(client)
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link = _Link(self, client)
        task = self._loop.create_task(link.run())
        self._links[task] = link
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._links.pop(task).close()

    def judge(self, request: bytes, judged: set[_Rule]) -> _Rule | None:
        """Return the rule by which a request suffers; `judged` are those that have counted it already."""
        for rule in self._rules:
            if rule not in judged and rule.matches(request):
                judged.add(rule)
                if rule.takes_next():
                    return rule
        return None


class _Link:
    """One connection through the tunnel."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.gate = proxy._gate
        self.held = 0
        self._proxy, self._client, self._loop = proxy, client, proxy._loop
        self._server: socket.socket | None = None
        #: What came from the client since the last reply, and the rules that have counted it.
        self._request, self._judged = b"", set[_Rule]()
        self._loses_reply = False

    def reset_at_end(self) -> None:
        """Let the end of this link be an RST to both sides."""
        for end in filter(None, (self._client, self._server)):
            _reset_at_end(end)

    async def run(self) -> None:
        """Carry bytes both ways until both have ended, or one breaks."""
        try:
            await self.gate.wait()
            self._server = await _connected(self._loop, self._proxy.upstream)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._upward(self._server))
                both.create_task(self._downward(self._server))
        except* (_Dropped, OSError):
            _reset_at_end(self._client)
            if self._server:
                await self._run_out(self._server)
            self._proxy.dropped += self._loses_reply

    def close(self) -> None:
        """Close both ends."""
        for end in filter(None, (self._client, self._server)):
            end.close()

    async def _upward(self, server: socket.socket) -> None:
        way = self._proxy._up
        while data := await self._loop.sock_recv(self._client, way.piece):
            self.held += len(data)
            await self.gate.wait()
            self.held -= len(data)
            self._request += data
            if not self._loses_reply and (rule := self._proxy.judge(self._request, self._judged)):
                self._loses_reply = True
                if not rule.after:
                    raise _Dropped
            await way.pass_on(len(data))
            await self._loop.sock_sendall(server, data)
        await self.gate.wait()
        server.shutdown(socket.SHUT_WR)

    async def _downward(self, server: socket.socket) -> None:
        way = self._proxy._down
        while data := await self._loop.sock_recv(server, way.piece):
            await self.gate.wait()
            if self._loses_reply:
                raise _Dropped
            self._request = b""
            self._judged.clear()
            await way.pass_on(len(data))
            await self._loop.sock_sendall(self._client, data)
        await self.gate.wait()
        self._client.shutdown(socket.SHUT_WR)

    async def _run_out(self, server: socket.socket) -> None:
        """Let the server carry out all that it was sent."""
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_WR)
            while await self._loop.sock_recv(server, PIECE):
                pass


def _reset_at_end(end: socket.socket) -> None:
    """Let the closing of a socket be an RST."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)


async def _connected(loop: asyncio.AbstractEventLoop, address: Address) -> socket.socket:
    """Return a connection to the server. Raises OSError."""
    server = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
    server.setblocking(False)
    try:
        await loop.sock_connect(server, address)
    except BaseException:
        server.close()
        raise
    return server


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener
