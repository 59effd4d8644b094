"""The shepherd's side of its socket: who is connected, what they say, what is to be sent to them.

Only the standard library and rqflow's base are imported here: the shepherd uses this module.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rqflow.worker.shepherd_protocol import SOCKET, Lines, meeting_place

logger = logging.getLogger(__name__)


class Client:
    """One connection: what it sent in pieces, and what could not be sent to it yet."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.lines = Lines()
        self.out = bytearray()
        self.is_worker = False


class Clients:
    """All connections; nothing here ever waits."""

    def __init__(self, folder: Path, selector: selectors.BaseSelector, obey: Callable[[Client, dict[str, Any]], None],
                 leave: Callable[[Client], None]) -> None:
        """Listen in `folder`; readiness is told by callbacks that are registered with `selector`, messages are given to `obey`.

        `leave` is told of each client that is gone.
        """
        self._selector, self._obey, self._leave = selector, obey, leave
        self._clients: dict[int, Client] = {}
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        (folder / SOCKET).unlink(missing_ok=True)
        with meeting_place(folder) as address:
            self._server.bind(address)
        self._server.listen(16)
        selector.register(self._server, selectors.EVENT_READ, self._welcome)

    def __len__(self) -> int:
        """Return how many are connected."""
        return len(self._clients)

    def tell_workers(self, text: bytes) -> None:
        """Send a line to all that said they are workers."""
        for client in self._clients.values():
            if client.is_worker:
                client.out += text

    def flush(self) -> None:
        """Send what is to be sent; a client that does not read gets the rest when it does."""
        for client in list(self._clients.values()):
            if client.out:
                try:
                    del client.out[: client.connection.send(client.out)]
                except BlockingIOError:
                    pass
                except ConnectionError:
                    self._dismiss(client)
                    continue
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.out else 0)
            key = self._selector.get_key(client.connection)
            if key.events != wanted:
                self._selector.modify(client.connection, wanted, key.data)

    def _welcome(self, _: int) -> None:
        """Take a new connection, of our own user or root only."""
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection, _address = self._server.accept()
            credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            if struct.unpack("3i", credentials)[1] not in {os.getuid(), 0}:
                connection.close()
                return
            connection.setblocking(False)
            client = Client(connection)
            self._clients[connection.fileno()] = client
            self._selector.register(connection, selectors.EVENT_READ, lambda mask: self._serve(client, mask))

    def _serve(self, client: Client, mask: int) -> None:
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = client.connection.recv(1 << 20)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._dismiss(client)
            return
        try:
            for message in client.lines.feed(data):
                self._obey(client, message)
        except (ValueError, TypeError, KeyError):
            logger.exception("a client sent what is no message; it is disconnected")
            self._dismiss(client)

    def _dismiss(self, client: Client) -> None:
        if self._clients.pop(client.connection.fileno(), None):
            self._selector.unregister(client.connection)
            client.connection.close()
            self._leave(client)
