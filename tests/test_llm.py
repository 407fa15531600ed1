"""The LLM seam, against a server that speaks the OpenAI API over loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from rag.errors import ModelError
from rag.llm import chat_model
from rag.protocols import Message

pytest.importorskip("langchain_openai", reason="the extra `openai` is not installed")

MESSAGES = [Message("system", "Be brief."), Message("user", "¿Qué hora es?")]


class Server(ThreadingHTTPServer):
    """Answers chat completions with ``pieces`` as server-sent events, and keeps what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.pieces = ["Son ", "las ", "tres ñ."]
        self.status = 200
        self.stall = threading.Event()
        self.stalling = False
        self.requests: list[tuple[dict[str, Any], str]] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append((body, self.headers.get("authorization", "")))
        if self.server.stalling:
            self.server.stall.wait(20)
            return
        if self.server.status != 200:
            error = json.dumps({"error": {"message": "no: sk-secret", "type": "x", "code": None}}).encode()
            self.send_response(self.server.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(error)))
            self.end_headers()
            self.wfile.write(error)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for piece in self.server.pieces:
                self.event({"role": "assistant", "content": piece}, None)
                self.server.sent += 1
            self.event({}, "stop")
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            return  # the reader went away

    def event(self, delta: dict[str, Any], reason: str | None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        data = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.stall.set()
    running.shutdown()
    thread.join()
    running.server_close()


def test_the_answer_arrives_in_the_pieces_that_were_sent(server):
    model = chat_model("openai:m", base_url=server.url, options={"temperature": 0})
    assert list(model.stream(MESSAGES)) == server.pieces
    body, _ = server.requests[0]
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "¿Qué hora es?"},
    ]
    assert (body["model"], body["temperature"], body["stream"]) == ("m", 0, True)


def test_a_key_from_the_environment_is_not_sent_to_another_endpoint(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-from-the-environment")
    list(chat_model("openai:m", base_url=server.url).stream(MESSAGES))
    list(chat_model("openai:m", base_url=server.url, api_key="sk-given").stream(MESSAGES))
    assert [key for _, key in server.requests] == ["Bearer none", "Bearer sk-given"]


def test_the_receipt_knows_the_parameters_and_never_the_key(server):
    model = chat_model("openai:m", base_url=server.url, api_key="sk-given", options={"temperature": 0.5})
    assert model.name == "openai:m"
    assert model.parameters["temperature"] == 0.5
    assert "sk-given" not in str(model.parameters)


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "refused the key"), (404, "check the model's name"), (429, "quota"), (400, "HTTP 400")],
)
def test_a_refusal_says_what_to_check(server, status, said):
    server.status = status
    with pytest.raises(ModelError, match=said) as caught:
        list(chat_model("openai:m", base_url=server.url, options={"max_retries": 0}).stream(MESSAGES))
    assert server.url in str(caught.value)
    if status == 401:
        assert "sk-secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_named():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(ModelError, match=f"at {url} cannot be reached"):
        list(chat_model("openai:m", base_url=url, options={"max_retries": 0}).stream(MESSAGES))


def test_a_silent_server_times_out(server):
    server.stalling = True
    model = chat_model("openai:m", base_url=server.url, timeout=0.2, options={"max_retries": 0})
    with pytest.raises(ModelError, match="did not answer in time"):
        list(model.stream(MESSAGES))


def test_a_reader_that_stops_early_stops_the_server(server):
    server.pieces = ["x" * 4096] * 20_000
    stream = chat_model("openai:m", base_url=server.url).stream(MESSAGES)
    assert next(stream) == "x" * 4096
    stream.close()
    deadline = time.monotonic() + 10
    before = -1
    while server.sent != before and time.monotonic() < deadline:
        before = server.sent
        time.sleep(0.1)
    assert server.sent < 20_000


def test_an_unknown_provider_and_a_missing_package_say_what_mends_it():
    with pytest.raises(ModelError, match="nonesuch"):
        chat_model("nonesuch:m")
    with pytest.raises(ModelError, match=r"pip install 'langchain-fireworks'"):
        chat_model("fireworks:m")


def test_a_missing_key_is_said_before_anything_is_sent(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(ModelError, match="openai:m"):
        chat_model("openai:m")
