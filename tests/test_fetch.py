"""URLs: what is refused before anything is sent, and what a bad server costs. Real servers, on loopback."""

import gzip
import ipaddress
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.addresses import blocked_as
from ingest.fetch import FetchSettings, fetch, normal_url
from ingest.sources import SourceSettings, open_source
from rag.errors import SourceError, UsageError

OPEN = FetchSettings(allow_private=True, timeout_s=10, max_bytes=1 << 20)
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def server(answer: Answer, *, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """A web server on a free port of 127.0.0.1 whose GET is ``answer``; gives its "host:port"."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *args: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """A client that goes away in the middle is what some tests are about."""

    with Quiet(("127.0.0.1", 0), Handler) as httpd:
        if context is not None:
            httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"127.0.0.1:{httpd.server_address[1]}"
        finally:
            httpd.shutdown()
            thread.join()


def reply(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def code(url: str, settings: FetchSettings = OPEN, **options: object) -> str:
    with pytest.raises(SourceError) as caught:
        fetch(url, settings=settings, **options)
    return caught.value.code


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.168.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.1.1.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:c0a8:1::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "2001:db8::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%lo",
        "fec0::1",
        "ff02::1",
        "::ffff:0:127.0.0.1",
        "4000::1",
    ],
)
def test_addresses_that_lead_inside_are_blocked(address):
    assert blocked_as(address)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "93.184.216.34",
        "2606:2800:220:1:248:1893:25c8:1946",
        "::ffff:93.184.216.34",
        "64:ff9b::5db8:d822",
        "2002:5db8:d822::1",
    ],
)
def test_public_addresses_are_not_blocked(address):
    assert not blocked_as(address)


@given(st.ip_addresses())
def test_whatever_python_calls_private_is_blocked(address):
    """The oracle is older than the registry: what it refuses we refuse, but for IPv4 inside IPv6."""
    inside = isinstance(address, ipaddress.IPv6Address) and (address.sixtofour or address.ipv4_mapped)
    if not inside and (address.is_private or address.is_multicast or address.is_reserved):
        nat64 = address in ipaddress.ip_network("64:ff9b::/96") if address.version == 6 else False
        assert nat64 or blocked_as(str(address))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "017700000001",
        "127.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[fe80::1]",
        "127。0。0。1",
        "１２７.０.０.１",
        "169.254.169.254",
    ],
)
def test_every_spelling_of_a_private_host_is_blocked(host):
    assert code(f"http://{host}/", FetchSettings()) == "blocked"


def test_odd_spellings_are_refused_even_of_public_addresses_and_before_any_name_is_resolved():
    def resolver(host: str, port: int) -> list[str]:
        raise AssertionError(f"asked for {host}")

    for host in ("16843009", "0x1.1.1.1", "1.1.1", "01.01.01.01"):
        assert code(f"http://{host}/", FetchSettings(), resolver=resolver) == "blocked"


def test_name_that_resolves_to_private_addresses_only_is_blocked():
    def resolver(host: str, port: int) -> list[str]:
        return ["10.0.0.7", "::1"]

    with pytest.raises(
        SourceError, match=r"docs\.example is 10\.0\.0\.7, a private address.*allow_private_urls"
    ):
        fetch("http://docs.example/", settings=FetchSettings(), resolver=resolver)


def test_the_checked_address_is_the_one_connected_to_and_the_name_is_asked_once(monkeypatch):
    """A name that answers with a public address first and a private one next gains nothing by it."""
    asked: list[str] = []
    connected: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34", "10.0.0.1"] if len(asked) == 1 else ["127.0.0.1"]

    def create_connection(address: tuple[str, int], *args: object, **kwargs: object) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError("no network in tests")

    monkeypatch.setattr(socket, "create_connection", create_connection)
    assert code("http://docs.example:8080/a", FetchSettings(), resolver=resolver) == "network"
    assert asked == ["docs.example"]
    assert connected == [("93.184.216.34", 8080)]


def test_unreachable_address_is_left_for_the_next_one():
    with server(reply(b"here")) as host:
        port = host.partition(":")[2]
        got = fetch(
            f"http://docs.example:{port}/",
            settings=OPEN,
            resolver=lambda *_: ["127.0.0.254", "::1", "127.0.0.1"],
        )
    assert got.data == b"here"


def test_host_header_carries_the_name_and_no_proxy_is_used(monkeypatch):
    seen: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers["Host"])
        reply(b"x")(handler)

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    with server(answer) as host:
        port = host.partition(":")[2]
        fetch(f"http://docs.example:{port}/", settings=OPEN, resolver=lambda *_: ["127.0.0.1"])
    assert seen == [f"docs.example:{port}"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
    command += " -keyout key.pem -out cert.pem -subj /CN=docs.example -addext subjectAltName=DNS:docs.example"
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("needs the openssl command to make a certificate")
    return folder


def test_certificate_is_checked_by_name_though_the_address_is_pinned(certificate):
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    trusting = ssl.create_default_context(cafile=str(certificate / "cert.pem"))
    with server(reply(b"secret"), context=serving) as host:
        port = host.partition(":")[2]

        def go(name: str, context: ssl.SSLContext | None) -> bytes:
            url = f"https://{name}:{port}/"
            return fetch(url, settings=OPEN, resolver=lambda *_: ["127.0.0.1"], ssl_context=context).data

        assert go("docs.example", trusting) == b"secret"
        for name, context in (("other.example", trusting), ("docs.example", None)):
            with pytest.raises(
                SourceError, match=r"CERTIFICATE_VERIFY_FAILED|certificate verify failed"
            ) as caught:
                go(name, context)
            assert caught.value.code == "network"


# --- redirects -----------------------------------------------------------------------------------


def hop(target: str, status: int = 302) -> Answer:
    return reply(b"", status, Location=target)


def test_redirects_are_followed_and_relative_ones_resolved():
    def answer(handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        (reply(b"end", Content_Type="text/HTML; charset=x") if path == "/b/c?q=1" else hop("b/c?q=1#top"))(
            handler
        )

    with server(answer) as host:
        got = fetch(f"http://{host}/a", settings=OPEN)
    assert (got.data, got.media_type, got.url) == (b"end", "text/html", f"http://{host}/b/c?q=1")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("file:///etc/passwd", "blocked"),
        ("gopher://127.0.0.1/", "blocked"),
        ("http://user:word@docs.example/", "blocked"),
        ("//[broken", "blocked"),
        ("http://a:b/", "http"),
        ("http://a b/", "blocked"),
        ("http://inside.example/", "blocked"),
        ("http://0x7f000001/", "blocked"),
        ("/round", "http"),
    ],
)
def test_every_redirect_is_checked_anew(monkeypatch, target, expected):
    """The first hop is let through as public; where it leads to is judged like a URL of its own."""
    monkeypatch.setattr("ingest.fetch.blocked_as", lambda address: "" if address == "127.0.0.1" else "inside")
    with server(hop(target)) as host:
        port = host.partition(":")[2]
        addresses = {"docs.example": ["127.0.0.1"], "inside.example": ["10.0.0.1"]}
        url = f"http://docs.example:{port}/"
        assert code(url, FetchSettings(), resolver=lambda name, _: addresses[name]) == expected


def test_redirects_end_after_five():
    count: list[str] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        count.append(handler.path)
        n = int(handler.path[1:])
        (reply(b"end") if n == 0 else hop(f"/{n - 1}"))(handler)

    with server(answer) as host:
        assert fetch(f"http://{host}/5", settings=OPEN).data == b"end"
        count.clear()
        assert code(f"http://{host}/6") == "http"
    assert len(count) == 6


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 403, 404, 410, 429, 500, 503])
def test_any_status_but_200_is_http(status):
    with (
        server(reply(b"" if status in (204, 304) else b"no", status)) as host,
        pytest.raises(SourceError) as caught,
    ):
        fetch(f"http://{host}/a", settings=OPEN)
    assert caught.value.code == "http"
    assert str(status) in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 1000, 1 << 20])
def test_body_arrives_whole_plain_and_packed(size):
    body = os.urandom(size)
    halves = gzip.compress(body[: size // 2]) + gzip.compress(body[size // 2 :])
    for sent, headers in (
        (body, {}),
        (gzip.compress(body), {"Content_Encoding": "gzip"}),
        (halves, {"Content_Encoding": "gzip"}),
    ):
        with server(reply(sent, **headers)) as host:
            assert fetch(f"http://{host}/", settings=FetchSettings(allow_private=True)).data == body


def chunked(blocks: Iterator[bytes]) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for block in blocks:
            handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def test_size_limit_holds_declared_streamed_and_unpacked():
    limit = FetchSettings(allow_private=True, timeout_s=10, max_bytes=100_000)
    bomb = gzip.compress(gzip.compress(bytes(200 << 20)))  # unpacked once: 200 kB of the next layer
    bomb = gzip.decompress(bomb)
    endless = chunked(bytes(50_000) for _ in iter(int, 1))
    for answer in (reply(bytes(100_001)), reply(bomb, Content_Encoding="gzip"), endless):
        with server(answer) as host, pytest.raises(SourceError, match="url_max_bytes") as caught:
            fetch(f"http://{host}/", settings=limit)
        assert caught.value.code == "too_large"
    with server(reply(bytes(100_000))) as host:
        assert len(fetch(f"http://{host}/", settings=limit).data) == 100_000


def test_bomb_is_never_unpacked_in_memory():
    import tracemalloc

    bomb = gzip.compress(bytes(150 << 20))
    with server(reply(bomb, Content_Encoding="gzip")) as host:
        tracemalloc.start()
        try:
            assert code(f"http://{host}/") == "too_large"
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


def test_encodings_that_were_not_asked_for_and_damaged_ones_are_told():
    for encoding, body, expected in (
        ("br", b"x", "http"),
        ("gzip, gzip", gzip.compress(gzip.compress(b"x")), "http"),
        ("gzip", b"not gzip", "network"),
        ("gzip", gzip.compress(b"x" * 1000)[:-12], "network"),
    ):
        with server(reply(body, Content_Encoding=encoding)) as host:
            assert code(f"http://{host}/") == expected


def test_body_cut_short_or_no_http_at_all_is_network():
    def raw(data: bytes) -> Answer:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.wfile.write(data)
            handler.close_connection = True

        return answer

    for data in (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"SSH-2.0-OpenSSH\r\n", b""):
        with server(raw(data)) as host:
            assert code(f"http://{host}/") == "network"


def test_closed_port_and_unknown_name_are_network():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert code(f"http://127.0.0.1:{closed.getsockname()[1]}/") == "network"

    def resolver(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert code("http://nowhere.example/", resolver=resolver) == "network"


@pytest.mark.parametrize("where", ["resolver", "head", "body", "redirects"])
def test_deadline_holds_for_the_whole_transfer_however_it_drips(where):
    stop = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        if where == "redirects":
            stop.wait(0.3)
            return hop("/again")(handler)
        if where == "body":
            handler.send_response(200)
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not stop.wait(0.02):
            handler.wfile.write(b"x")
        return None

    def resolver(host: str, port: int) -> list[str]:
        if where == "resolver":
            stop.wait(30)
        return ["127.0.0.1"]

    began = time.monotonic()
    with server(drip) as host:
        port = host.partition(":")[2]
        settings = FetchSettings(allow_private=True, timeout_s=0.5)
        assert code(f"http://docs.example:{port}/", settings, resolver=resolver) == "timeout"
        stop.set()
    assert time.monotonic() - began < 20  # without the deadline: never


# --- names ---------------------------------------------------------------------------------------


def test_one_page_has_one_url():
    for url in ("http://a.example", "HTTP://A.example:80/", "http://a.example/#top"):
        assert normal_url(url) == "http://a.example/"


def test_urls_with_passwords_are_refused_without_repeating_them():
    with pytest.raises(UsageError) as caught:
        normal_url("https://me:hunter2@a.example/")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://", "https:///x", "http://a.example:99999/", "http://[::1/", "http://a b/", "x"]
)
def test_what_is_no_url_is_a_usage_error(url):
    with pytest.raises(UsageError):
        normal_url(url)


def test_url_as_a_source_is_one_item_under_its_own_name():
    with server(reply(b"# Hello", Content_Type="text/markdown")) as host:
        source = open_source(f"http://{host}/a.md#x", settings=SourceSettings(fetch=OPEN))
        (found,) = source.list()
        content = source.open(found)
    assert (source.uri, source.whole, found.uri) == (f"http://{host}/a.md", False, f"http://{host}/a.md")
    assert (content.read(), content.media_type, content.path) == (b"# Hello", "text/markdown", None)
