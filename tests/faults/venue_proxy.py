"""A TCP proxy in front of the venue, whose connections can be cut.

Belongs here: passing bytes on, and cutting. Does not belong here: when (``injector``).
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

LOOPBACK = "127.0.0.1"
CHUNK = 1 << 16
PATIENCE_SECONDS = 5.0


class VenueProxy:
    """Passes connections on to where ``target`` says; listens from construction on.

    Parameters
    ----------
    target
        Port on the loopback interface, asked at each connection; None while there is none.
    """

    def __init__(self, target: Callable[[], int | None]) -> None:
        self._target = target
        self._listener = socket.create_server((LOOPBACK, 0))
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        self._cut = False
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="venue proxy", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()
        self._drop()

    def cut_for(self, seconds: float) -> None:
        """Drop all connections and refuse new ones for a while; returns when that is over."""
        self._cut = True
        self._drop()
        time.sleep(seconds)
        self._cut = False

    def _drop(self) -> None:
        with self._guard:
            dropped, self._open = self._open, set()
        for connection in dropped:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes the two threads, which close it

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            port = self._target()
            if self._cut or port is None:
                client.close()
                continue
            try:
                server = socket.create_connection((LOOPBACK, port), timeout=PATIENCE_SECONDS)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            with self._guard:
                self._open |= {client, server}
            threading.Thread(target=self._connect, args=(client, server), daemon=True).start()

    def _connect(self, client: socket.socket, server: socket.socket) -> None:
        back = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
        back.start()
        _pass_on(client, server)
        back.join()
        with self._guard:
            self._open -= {client, server}
        client.close()
        server.close()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
