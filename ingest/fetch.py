"""One URL, fetched without being led anywhere else.

A URL in a list may point at this machine or at a neighbour's (server-side request forgery), by its
spelling, by what its name resolves to, by a redirect, or by resolving to something else the second
time. So each hop is resolved once, every address is checked, and the connection is made to a
checked address, while the Host header, SNI and the certificate's check keep the name. One deadline
covers names, handshakes, headers and body of all hops; the size limit holds for what was sent and
for what it unpacks to. Proxies named by the environment are not used.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ingest.addresses import blocked_as
from ingest.pinned import Deadline, pinned
from rag.errors import SourceError, UsageError

if TYPE_CHECKING:
    import httpcore
    import httpx

Resolver: TypeAlias = Callable[[str, int], Sequence[str]]
"""Host and port in, numeric addresses out. Raises OSError where there are none."""

REDIRECTS = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 5
AGENT = "promptwell/0.1"
ACCEPT = "text/html,application/xhtml+xml,text/markdown,text/plain,application/pdf;q=0.9,*/*;q=0.8"


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """``timeout_s`` is for the whole of one URL, redirects included; ``max_bytes`` for its body, unpacked."""

    max_bytes: int = 64 << 20
    timeout_s: float = 60.0
    allow_private: bool = False


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a URL led to. ``media_type`` is lower case, without parameters, "" if none was declared."""

    url: str
    media_type: str
    data: bytes = field(repr=False)


def normal_url(url: str) -> str:
    """A URL as items are named by it: lower-case scheme and host, no fragment, no default port.

    Raises UsageError for what is not an http(s) URL, or holds a user name or password: those would
    be stored with every passage.

    >>> normal_url("HTTPS://Docs.Example.ORG:443/Guía#top")
    'https://docs.example.org/Gu%C3%ADa'
    """
    parsed = _parse(url)
    if parsed is None:
        raise UsageError(f"{url!r} is not an http:// or https:// URL with a host")
    if parsed.userinfo:
        raise UsageError(
            f"the URL of {parsed.host} holds a user name or password, which would be stored; leave it out"
        )
    return str(parsed.copy_with(fragment=None))


def resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def fetch(
    url: str,
    *,
    settings: FetchSettings,
    resolver: Resolver = resolve,
    ssl_context: ssl.SSLContext | None = None,
) -> Fetched:
    """The body of one URL. Raises SourceError: blocked, http, network, timeout or too_large."""
    deadline = Deadline(settings.timeout_s)
    for _ in range(MAX_REDIRECTS + 1):
        parsed = _allowed(url)
        host = parsed.raw_host.decode("ascii")
        port = parsed.port or (443 if parsed.scheme == "https" else 80)
        addresses = _checked_addresses(host, port, settings, resolver, deadline)
        answer = _get(parsed, addresses, settings.max_bytes, deadline, ssl_context)
        if isinstance(answer, Fetched):
            return answer
        url = answer
    raise SourceError("http", f"more than {MAX_REDIRECTS} redirects, the last to {url}")


# --- where to ------------------------------------------------------------------------------------


_HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:.]+")
"""A name, or an IPv6 address without its brackets: zones and escapes have no business in a public URL."""


def _parse(url: str) -> httpx.URL | None:
    import httpx

    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):  # ValueError: a port or a name that IDNA refuses
        return None
    if parsed.scheme not in ("http", "https") or not _HOST.fullmatch(parsed.raw_host.decode("ascii")):
        return None
    if parsed.port is not None and not 0 < parsed.port < 65536:
        return None
    return parsed.copy_with(raw_path=parsed.raw_path)  # "http://a" is "http://a/"


def _allowed(url: str) -> httpx.URL:
    parsed = _parse(url)
    if parsed is None:
        raise SourceError("blocked", f"{url!r} is not an http:// or https:// URL")
    if parsed.userinfo:
        raise SourceError("blocked", f"a redirect to {parsed.host} holds a user name or password")
    return parsed


_NUMERIC = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)
"""A host whose last label is a number: by the WHATWG's URL standard an IPv4 address, however spelled."""


def _checked_addresses(
    host: str, port: int, settings: FetchSettings, resolver: Resolver, deadline: Deadline
) -> list[str]:
    """The addresses of a host that may be connected to: at least one."""
    bare = host.strip("[]")
    if settings.allow_private:
        return _resolved(bare, port, resolver, deadline)
    if _NUMERIC.fullmatch(bare) and not _is_address(bare):
        raise SourceError(
            "blocked", f"{host} spells an address in an unusual way; write it as four decimal numbers"
        )
    addresses = [bare] if _is_address(bare) else _resolved(bare, port, resolver, deadline)
    refusals = {address: blocked_as(address) for address in addresses}
    checked = [address for address in addresses if not refusals[address]]
    if not checked:
        address, reason = next(iter(refusals.items()))
        detail = f"{host} is {address}, {reason}; [ingest] allow_private_urls = true allows such addresses"
        raise SourceError("blocked", detail)
    return checked


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _resolved(host: str, port: int, resolver: Resolver, deadline: Deadline) -> list[str]:
    """Ask the resolver, which knows no time limit, from a thread that may be left behind."""
    answers: list[Sequence[str] | Exception] = []

    def ask() -> None:
        try:
            answers.append(resolver(host, port))
        except Exception as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True, name="resolve")
    thread.start()
    thread.join(deadline.left())
    if not answers:
        raise deadline.passed()
    answer = answers[0]
    if isinstance(answer, OSError | UnicodeError) or answer == []:
        raise SourceError("network", f"{host} has no address ({answer or 'none given'})")
    if isinstance(answer, Exception):
        raise answer
    return list(dict.fromkeys(answer))


# --- one hop -------------------------------------------------------------------------------------


def _get(
    url: httpx.URL, addresses: list[str], limit: int, deadline: Deadline, ssl_context: ssl.SSLContext | None
) -> Fetched | str:
    """The body, or the URL that it redirects to. One pool a hop: no connection serves another name."""
    import httpcore

    headers = [
        (b"Host", url.netloc),
        (b"User-Agent", AGENT.encode()),
        (b"Accept", ACCEPT.encode()),
        (b"Accept-Encoding", b"gzip"),
        (b"Connection", b"close"),
    ]
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    backend = pinned(addresses, deadline)
    try:
        with (
            httpcore.ConnectionPool(ssl_context=ssl_context, network_backend=backend, retries=0) as pool,
            pool.stream("GET", target, headers=headers) as response,
        ):
            return _answer(url, response, limit)
    except httpcore.TimeoutException as error:
        raise deadline.passed() from error
    except (httpcore.NetworkError, httpcore.ProtocolError, ssl.SSLError) as error:
        raise SourceError("network", f"{url.host}: {error or type(error).__name__}") from error


def _answer(url: httpx.URL, response: httpcore.Response, limit: int) -> Fetched | str:
    headers = {name.lower(): value.decode("latin-1").strip() for name, value in response.headers}
    location = headers.get(b"location")
    if response.status in REDIRECTS and location:
        return _joined(url, location)
    if response.status != 200:
        raise SourceError("http", f"the server answered {response.status} for {url}")
    declared = headers.get(b"content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    encoding = headers.get(b"content-encoding", "identity").lower()
    sent = _at_most(response.iter_stream(), limit)
    if encoding in ("gzip", "x-gzip"):
        sent = _at_most(_gunzip(sent, limit), limit)
    elif encoding not in ("identity", ""):
        raise SourceError(
            "http", f"the server answered in the encoding {encoding!r}, which was not asked for"
        )
    media_type = headers.get(b"content-type", "").partition(";")[0].strip().lower()
    return Fetched(str(url), media_type, b"".join(sent))


def _joined(url: httpx.URL, location: str) -> str:
    import httpx

    try:
        return str(url.join(location).copy_with(fragment=None))
    except (httpx.InvalidURL, ValueError) as error:
        raise SourceError("http", f"the server redirects to {location!r}, which is no URL") from error


def _at_most(blocks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    size = 0
    for block in blocks:
        size += len(block)
        if size > limit:
            raise _too_large(limit)
        yield block


def _gunzip(blocks: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Unpack in steps of bounded size, so that a bomb is met by the limit and not by the memory."""
    step = min(limit + 1, 1 << 20)
    unpacker = zlib.decompressobj(wbits=31)
    begun = False
    try:
        for block in blocks:
            waiting = block
            while waiting:
                if unpacker.eof:  # one file may follow another, and they count as one
                    unpacker = zlib.decompressobj(wbits=31)
                begun = True
                yield unpacker.decompress(waiting, step)
                waiting = unpacker.unconsumed_tail or unpacker.unused_data
        yield unpacker.flush()
    except zlib.error as error:
        raise SourceError("network", f"the server's gzip data is damaged: {error}") from error
    if begun and not unpacker.eof:
        raise SourceError("network", "the server's gzip data ends too early")


def _too_large(limit: int) -> SourceError:
    return SourceError(
        "too_large", f"more than the {limit:,} bytes that [ingest] url_max_bytes allows; raise it"
    )
