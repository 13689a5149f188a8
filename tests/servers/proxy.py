"""TcpProxy: stands between a client and a server, and slows, cuts, stalls or ends what passes."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit


class TcpProxy:
    """Passes bytes on to the server at ``url``, with TLS if given a context; ``url`` is its own.

    Told so, it gives each answer ``delay`` seconds late, ends after ``cut_after`` bytes of one, begins one
    and never goes on (``stall``), or takes no connections (``refuse``).
    """

    def __init__(self, url: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = parts.hostname, parts.port
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        user = parts.netloc.rpartition("@")[0]
        self.url = parts._replace(netloc=f"{user}@{self.address}" if user else self.address).geturl()
        self.stall = self.refuse = False
        self.delay = 0.0
        self.cut_after: int | None = None
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            if self.refuse:
                return
            if self._context is not None:
                client = self._context.wrap_socket(client, server_side=True)
            with socket.create_connection(self._target) as server, client:
                self._sockets += [client, server]
                asking = threading.Thread(target=self._pass, args=(client, server, False), daemon=True)
                asking.start()
                self._pass(server, client, True)
                asking.join()

    def _pass(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_answer and self.delay:
                    time.sleep(self.delay)
                if is_answer and self.cut_after is not None:
                    target.sendall(data[: self.cut_after])
                    break
                if is_answer and self.stall:
                    target.sendall(data[:3])
                    return
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """End every connection that there is."""
        for each in self._sockets[1:]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        del self._sockets[1:]

    def heal(self) -> None:
        """Pass everything from now on; what stalled is ended."""
        self.stall, self.refuse, self.delay, self.cut_after = False, False, 0.0, None
        self.drop()

    def close(self) -> None:
        self.drop()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
