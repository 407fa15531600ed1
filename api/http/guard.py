"""What is turned away before any route sees it: requests from web pages of others, and too large ones.

Until there are keys the server listens on loopback only. That keeps out other machines but not the
person's own browser, in which any web page may send a form to 127.0.0.1, or name a host of its own
that resolves to it (DNS rebinding). So the Host must be a loopback name, and an Origin, where a
browser sends one, must be the same.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.errors import Refusal, answer
from rag.errors import InvalidSetting

SMALL_BODY = 1 << 20
"""Bytes. Questions are parsed on the event loop, which a book would hold up."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own.

    >>> [is_loopback(h) for h in ("localhost", "127.0.0.2", "::1", "0.0.0.0", "", "example.org")]
    [True, True, True, False, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def check_bind(host: str) -> None:
    """Refuse to listen where others can reach it. Raises InvalidSetting."""
    if not is_loopback(host):
        raise InvalidSetting(
            f"cannot serve on {host!r}: there are no keys yet, so anyone who reaches it could read and "
            "change the knowledge base; use 127.0.0.1, ::1 or localhost"
        )


class Guard:
    """ASGI middleware: loopback names only, and bodies of at most so many bytes: ``max_body`` on the
    paths that take content in, :data:`SMALL_BODY` on the others."""

    def __init__(self, app: ASGIApp, *, max_body: int, taking_in: frozenset[str]) -> None:
        self._app = app
        self._max_body = max_body
        self._taking_in = taking_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._max_body if scope["path"] in self._taking_in else min(SMALL_BODY, self._max_body)
        refusal = _refusal(Headers(scope=scope), limit)
        if refusal is not None:
            await answer(refusal)(scope, receive, send)
            return
        size = 0

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > limit:
                raise _too_large(limit)
            return message

        await self._app(scope, counted, send)


def _refusal(headers: Headers, limit: int) -> Refusal | None:
    host = headers.get("host", "")
    if not is_loopback(_hostname(f"//{host}")):
        return Refusal(403, f"this server does not answer for the host {host!r}", hint="use 127.0.0.1")
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != host:
        return Refusal(403, "requests from other web pages are refused", hint="send no Origin header")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        return _too_large(limit)
    return None


def _too_large(limit: int) -> Refusal:
    hint = "send less at a time; [server] max_body_mb in rag.toml is the limit of an ingest"
    return Refusal(413, f"the request is larger than {limit / 2**20:g} MB", hint=hint)


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
