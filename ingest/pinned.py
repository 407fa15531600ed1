"""A network that knows one way out, to checked addresses, and one deadline for everything."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rag.errors import SourceError

if TYPE_CHECKING:
    import httpcore


class Deadline:
    """The moment at which one URL has taken long enough."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds, more than 0. Raises SourceError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.passed()
        return left

    def passed(self) -> SourceError:
        detail = f"not done within the {self._seconds:g} seconds that [ingest] url_timeout_s allows; raise it"
        return SourceError("timeout", detail)


def pinned(addresses: Sequence[str], deadline: Deadline) -> httpcore.NetworkBackend:
    """A backend for httpcore that connects to these addresses only, whatever host it is asked for.

    httpcore's own timeouts start anew with every byte, so a server that sends one now and then is
    never late; here each wait is for what is left of the deadline.
    """
    import httpcore

    class Stream(httpcore.NetworkStream):
        def __init__(self, inner: httpcore.NetworkStream) -> None:
            self._inner = inner

        def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
            return self._inner.read(max_bytes, deadline.left())

        def write(self, buffer: bytes, timeout: float | None = None) -> None:
            self._inner.write(buffer, deadline.left())

        def close(self) -> None:
            self._inner.close()

        def start_tls(
            self,
            ssl_context: ssl.SSLContext,
            server_hostname: str | None = None,
            timeout: float | None = None,
        ) -> httpcore.NetworkStream:
            return Stream(self._inner.start_tls(ssl_context, server_hostname, deadline.left()))

        def get_extra_info(self, info: str) -> Any:
            return self._inner.get_extra_info(info)

    class Backend(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, *args: Any, **kwargs: Any) -> httpcore.NetworkStream:
            refusal: Exception | None = None
            for address in addresses:
                try:
                    return Stream(super().connect_tcp(address, port, timeout=deadline.left()))
                except httpcore.ConnectError as error:
                    refusal = error
            raise refusal or httpcore.ConnectError(f"{host} has no address")

    return Backend()
