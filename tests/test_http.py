"""The HTTP API over real parts: a catalogue on disk, a retriever, a pipeline; only the models are small."""

import asyncio
import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi.testclient import TestClient

from api.http import check_bind, create_app
from api.http.desk import Desk
from api.http.errors import CODES, STATUS, Refusal, told
from api.schemas import HitOut
from api.sections import ServerSection, Settings
from indexes.catalogue import Catalogue, CollectionInfo
from ingest import job
from ingest.decide import texts_source
from rag import errors
from rag.answer import Event, Pipeline
from rag.protocols import Message, Space
from rag.retrieve import MAX_K, MAX_QUESTION, Retriever, Trail
from rag.testing import EchoModel, HashEmbedder
from rag.types import Chunk, Document, Hit

TEXTS = {
    "tea": "Boil the water, then let the green tea draw for two minutes.",
    "bread": "Knead the dough for ten minutes and let it rise overnight.",
    "té": "Hierve el agua y deja reposar el té verde dos minutos.",
}


class Whole:
    """One chunk for each document."""

    fingerprint = "whole"

    def cut(self, document: Document) -> list[Chunk]:
        about = {"title": document.title, "uri": document.uri, "metadata": document.metadata}
        return [Chunk(document.id, document.text, 0, len(document.text), **about)]


class Small:
    """What the routes need, with small models. ``before`` is called in each worker thread first."""

    def __init__(self, folder: Path, **server: int) -> None:
        self.settings = Settings(data=folder, server=ServerSection(**server))
        self.chat = EchoModel()
        self.threads: list[int] = []
        self.before = lambda: None
        self._embedder = HashEmbedder(dim=256)
        self._catalogue = Catalogue.open(folder, create=True)
        self._retriever = Retriever(self._embedder)

    def trace(self, question, *, collection, k, where, mode) -> Trail:
        self.before()
        return self._retriever.trace(self._collection(collection), question, k=k, where=where)

    def ask_events(self, question, *, collection, k, where, prompt, variables) -> Iterator[Event]:
        self.before()
        pipeline = Pipeline(self._retriever, chat=self.chat)
        options = {"prompt": prompt or "answer", "k": k, "where": where, "variables": variables}
        for event in pipeline.stream(self._collection(collection), question, **options):
            self.threads.append(threading.get_ident())
            yield event

    def ingest_texts(self, documents: Sequence[Document], *, collection) -> job.IngestReport:
        self.before()
        space = Space("whole", self._embedder.info)
        with self._catalogue.writer(collection or "default", space, wait=5) as writer:
            source = texts_source(documents)
            return job.run([source], writer, space=space, chunker=Whole(), embedder=self._embedder)

    def ingest_files(self, files: Sequence[tuple[str, bytes]], *, collection) -> job.IngestReport:
        texts = [Document(name, data.decode("utf-8", "replace")) for name, data in files]
        return self.ingest_texts(texts, collection=collection)

    def collections(self) -> list[CollectionInfo]:
        self.before()
        return self._catalogue.collections()

    def health(self) -> dict[str, object]:
        return {"collections": len(self._catalogue.collections())}

    def close(self) -> None:
        self._catalogue.close()

    def _collection(self, name):
        return self._catalogue.collection(*(name or ["default"]), embedder=self._embedder.info)


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("knowledge") / "data"
    small = Small(folder)
    small.ingest_texts([Document(id, text, title=id) for id, text in TEXTS.items()], collection=None)
    small.close()
    return folder


@pytest.fixture
def services(knowledge, tmp_path) -> Iterator[Small]:
    shutil.copytree(knowledge, tmp_path / "data")
    small = Small(tmp_path / "data")
    yield small
    small.close()


@pytest.fixture
def client(services) -> TestClient:
    return TestClient(create_app(services), base_url="http://127.0.0.1", raise_server_exceptions=False)


@contextmanager
def serving(services: Small) -> Iterator[httpx.Client]:
    """A real server on a free port of this machine."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # who comes before the server is up waits for it
        config = uvicorn.Config(create_app(services), log_level="critical", timeout_graceful_shutdown=5)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            port = listener.getsockname()[1]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def events(body: str) -> list[tuple[str, dict]]:
    """What a server-sent stream holds: (event, data) in order."""
    found = []
    for block in body.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def error_of(response: httpx.Response) -> dict:
    """The error, after checking that it has the one shape."""
    body = response.json()
    assert set(body) == {"error"}
    assert {"code", "message"} <= set(body["error"]) <= {"code", "message", "hint"}
    assert all(isinstance(value, str) and value for value in body["error"].values())
    return body["error"]


# --- search --------------------------------------------------------------------------------------


def test_search_answers_what_the_services_find(client, services):
    response = client.post("/v1/search", json={"question": "green tea", "k": 2})
    assert response.status_code == 200
    found = services.trace("green tea", collection=None, k=2, where={}, mode=None).hits
    got = response.json()["hits"]
    assert [(hit["document"], hit["score"]) for hit in got] == [(h.chunk.document_id, h.score) for h in found]
    assert got[0]["document"] == "tea"
    start, end = got[0]["matches"][0]
    assert got[0]["text"][start:end] == "green"


def test_a_search_that_is_to_be_explained_tells_where_each_hit_stood(client):
    plain = client.post("/v1/search", json={"question": "green tea", "k": 2}).json()["hits"]
    assert all("standing" not in hit for hit in plain)
    told = client.post("/v1/search", json={"question": "green tea", "k": 2, "explain": True}).json()["hits"]
    assert [hit["standing"]["rank"] for hit in told] == [1, 2]
    assert [hit["standing"]["key"] for hit in told] == [hit["key"] for hit in plain]


def test_a_hit_tells_all_that_is_known_of_its_chunk():
    chunk = Chunk(
        "d", "a b", 3, 6, heading=("H",), page="7", title="T", uri="u", metadata={"tags": ("x", "y")}
    )
    told_of = HitOut.of(Hit(chunk, 0.5), [(0, 1)]).model_dump(mode="json")
    assert told_of.pop("document") == chunk.document_id
    assert (told_of.pop("score"), told_of.pop("matches"), told_of.pop("standing")) == (0.5, [[0, 1]], None)
    assert (told_of.pop("heading"), told_of.pop("metadata")) == (["H"], {"tags": ["x", "y"]})
    assert told_of == {name: getattr(chunk, name) for name in told_of}
    assert set(told_of) == {"collection", "uri", "title", "page", "start", "end", "key", "text"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "question"),
        ({"question": ""}, "question"),
        ({"question": "x" * (MAX_QUESTION + 1)}, "question"),
        ({"question": 3}, "question"),
        ({"question": "x", "k": 0}, "k"),
        ({"question": "x", "k": MAX_K + 1}, "k"),
        ({"question": "x", "k": "many"}, "k"),
        ({"question": "x", "mode": "both"}, "mode"),
        ({"question": "x", "where": "a=1"}, "where"),
        ({"question": "x", "kk": 3}, "kk"),
        ({"question": "x", "collection": "a\nb"}, "collection.0"),
        ({"question": "x", "collection": []}, "collection"),
    ],
)
def test_wrong_requests_are_told_by_field_and_never_reach_the_services(client, services, body, field):
    services.before = pytest.fail
    response = client.post("/v1/search", json=body)
    assert response.status_code == 422
    error = error_of(response)
    assert error["code"] == "invalid_request"
    assert error["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"\xff", b'{"question": "\\ud800"}', b'{"question": "a", "k": NaN}']
)
def test_bodies_that_are_no_request_are_invalid(client, content):
    response = client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code in (400, 422)
    error_of(response)


def test_json_sent_as_a_form_would_send_it_is_refused(client):
    """A web page of somebody else's can send text/plain without asking; it cannot send application/json."""
    for path in ("/v1/search", "/v1/ask", "/v1/ingest"):
        body = json.dumps({"question": "tea", "documents": [{"id": "a", "text": "b"}]})
        response = client.post(path, content=body, headers={"Content-Type": "text/plain"})
        assert response.status_code in (415, 422)
        error_of(response)


# --- ask -----------------------------------------------------------------------------------------


def test_answer_as_json_carries_citations_and_receipt(client):
    response = client.post("/v1/ask", json={"question": "How long does green tea draw?", "k": 2})
    assert response.status_code == 200
    answer = response.json()
    assert "green tea" in answer["text"]
    assert [*answer["receipt"]["generations"]] == ["default"]
    assert not answer["extractive"]


@pytest.mark.parametrize("how", ["accept", "field"])
def test_streamed_answer_is_the_same_answer_in_pieces(client, how):
    body = {"question": "How long does green tea draw?", "k": 2, "stream": how == "field"}
    headers = {"Accept": "text/event-stream"} if how == "accept" else {}
    response = client.post("/v1/ask", json=body, headers=headers)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-cache"
    got = events(response.text)
    names = [name for name, _ in got]
    assert names == ["context", *["delta"] * (len(names) - 2), "answer"]
    assert len(names) > 5
    assert [passage["number"] for passage in got[0][1]["passages"]] == [1, 2]
    assert "".join(data["text"] for name, data in got if name == "delta") == got[-1][1]["text"]


def test_what_fails_before_the_first_event_is_an_http_error(client):
    for how in ({}, {"Accept": "text/event-stream"}):
        body = {"question": "tea", "collection": "nowhere"}
        response = client.post("/v1/ask", json=body, headers=how)
        assert response.status_code == 404
        assert error_of(response)["code"] == "unknown_collection"
        response = client.post("/v1/ask", json={"question": "tea", "prompt": "nowhere"}, headers=how)
        assert (response.status_code, error_of(response)["code"]) == (404, "unknown_prompt")


@pytest.mark.parametrize(
    ("error", "code"),
    [(errors.ModelError("the model went away"), "model_error"), (KeyError("secret"), "internal")],
)
def test_what_fails_later_is_the_last_event(client, services, error, code):
    class Failing(EchoModel):
        def stream(self, messages: Sequence[Message]) -> Iterator[str]:
            yield "Green tea "
            raise error

    services.chat = Failing()
    got = events(client.post("/v1/ask", json={"question": "green tea?", "stream": True}).text)
    assert [name for name, _ in got][-1] == "error"
    assert got[-1][1]["error"]["code"] == code
    assert "secret" not in json.dumps(got[-1])
    response = client.post("/v1/ask", json={"question": "green tea?"})
    assert response.status_code == (502 if code == "model_error" else 500)
    assert error_of(response)["code"] == code


def test_a_generation_runs_in_one_thread_from_start_to_end_and_off_the_event_loop(client, services):
    client.post("/v1/ask", json={"question": "green tea?", "stream": True})
    assert len(set(services.threads)) == 1
    assert threading.get_ident() not in services.threads


def test_generation_stops_when_the_client_goes(services):
    closed = threading.Event()
    told_pieces: list[int] = []

    class Endless(EchoModel):
        def stream(self, messages: Sequence[Message]) -> Iterator[str]:
            try:
                while True:
                    told_pieces.append(1)
                    yield "more "
                    time.sleep(0.005)
            finally:
                closed.set()

    services.chat = Endless()
    with serving(services) as client:
        with client.stream("POST", "/v1/ask", json={"question": "tea?", "stream": True}) as response:
            lines = response.iter_lines()
            while "delta" not in next(lines):
                pass
            assert not closed.is_set()
        assert closed.wait(20)
        count = len(told_pieces)
        time.sleep(0.1)
        assert len(told_pieces) == count


def test_a_silent_model_is_pinged_for(client, services, monkeypatch):
    monkeypatch.setattr("api.http.ask.PING_S", 0.02)

    class Slow(EchoModel):
        def stream(self, messages: Sequence[Message]) -> Iterator[str]:
            time.sleep(0.3)
            yield "Tea."

    services.chat = Slow()
    body = client.post("/v1/ask", json={"question": "tea?", "stream": True}).text
    assert body.count(": ping") >= 2
    assert events(body)[-1][1]["text"] == "Tea."


# --- ingest --------------------------------------------------------------------------------------


def test_texts_are_taken_in_replaced_and_left_alone(client):
    first = {
        "id": "faq-1",
        "text": "We open at nine.",
        "title": "FAQ",
        "metadata": {"tags": ["a", "b"], "n": 3},
    }
    second = {"id": "faq-2", "text": "Cerramos a las seis."}
    response = client.post("/v1/ingest", json={"documents": [first, second], "collection": "faq"})
    assert response.status_code == 200
    assert response.json()["documents_added"] == 2
    again = client.post(
        "/v1/ingest", json={"documents": [{**first, "text": "We open at ten."}], "collection": "faq"}
    )
    report = again.json()
    assert [report[f"documents_{what}"] for what in ("added", "updated", "removed", "failed")] == [0, 1, 0, 0]
    found = client.post("/v1/search", json={"question": "open", "collection": "faq", "where": {"tags": "b"}})
    assert [hit["text"] for hit in found.json()["hits"]] == ["We open at ten."]
    assert found.json()["hits"][0]["metadata"] == {"tags": ["a", "b"], "n": 3}
    body = {"question": "open green tea", "collection": ["faq", "default"], "k": 20}
    hits = client.post("/v1/search", json=body).json()["hits"]
    assert {hit["collection"] for hit in hits} == {"faq", "default"}
    answer = client.post("/v1/ask", json=body).json()
    assert [*answer["receipt"]["generations"]] == ["faq", "default"]
    assert answer["confidence"] is None
    listed = client.get("/v1/collections").json()["collections"]
    assert [(row["name"], row["documents"]) for row in listed] == [("default", 3), ("faq", 2)]


def test_files_are_taken_in_as_a_form(client):
    files = [("files", ("guía/a.md", b"# Uno")), ("files", ("b.md", b"# Two"))]
    response = client.post("/v1/ingest", files=files, data={"collection": "files"})
    assert response.status_code == 200
    assert response.json()["documents_added"] == 2
    hits = client.post("/v1/search", json={"question": "Uno", "collection": "files", "k": 1}).json()["hits"]
    assert hits[0]["document"] == "guía/a.md"


@pytest.mark.parametrize(
    "body",
    [
        {"documents": []},
        {"documents": [{"id": "", "text": "a"}]},
        {"documents": [{"id": "a\x00b", "text": "a"}]},
        {"documents": [{"id": "a"}]},
        {"documents": [{"id": "a", "text": "b", "metadata": {"x": {"deep": 1}}}]},
        {"documents": [{"id": "a", "text": "b", "uri": "file:///etc/passwd"}]},
        {"documents": [{"id": "a", "text": "b"}], "path": "/etc"},
    ],
)
def test_texts_that_cannot_be_kept_are_told_by_field(client, services, body):
    services.before = pytest.fail
    response = client.post("/v1/ingest", json=body)
    assert response.status_code == 422
    assert error_of(response)["message"].startswith(("documents", "path"))


def test_forms_that_hold_no_file_or_something_else_are_invalid(client, services):
    services.before = pytest.fail
    for files, data in (
        ([("other", ("a.md", b"x"))], {}),
        ([("files", ("a.md", b"x"))], {"path": "/etc"}),
        ([("files", ("x" * 600, b"x"))], {}),
    ):
        response = client.post("/v1/ingest", files=files, data=data)
        assert response.status_code in (400, 422)
        error_of(response)
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    for content in (
        b"--b--\r\n",
        b"broken",
        b"--b\r\nContent-Disposition: form-data; name=collection\r\n\r\nx\r\n--b--\r\n",
        b'--b\r\nContent-Disposition: form-data; name=files; filename="a\x01b"\r\n\r\nx\r\n--b--\r\n',
    ):
        response = client.post("/v1/ingest", content=content, headers=form)
        assert response.status_code in (400, 422)
        error_of(response)


# --- errors --------------------------------------------------------------------------------------


def test_every_error_of_the_library_has_a_status_and_a_stable_code():
    kinds = [kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)]
    seen = set()
    for kind in kinds:
        extra = {"names": ("x",)} if kind is errors.MissingVariables else {}
        made = kind("binary", "why") if kind is errors.SourceError else kind("why", **extra)
        status, body = told(made)
        assert 400 <= status < 600
        assert body.error.message == "why"
        seen.add(body.error.code)
    assert len(seen) == len(kinds)
    assert {"unknown_collection", "lock_held", "model_error"} <= seen
    assert told(errors.LockHeld("busy"))[0] == 409
    assert {status for _, status in STATUS} <= {*CODES, 409, 502}


def test_unknown_paths_and_methods_have_the_same_shape_and_say_what_there_is(client):
    response = client.get("/nowhere")
    assert (response.status_code, error_of(response)["code"]) == (404, "not_found")
    assert "/openapi.json" in error_of(response)["hint"]
    response = client.get("/v1/search", params={"question": "secret"})
    assert (response.status_code, error_of(response)["code"]) == (405, "method_not_allowed")
    assert "POST" in error_of(response)["hint"]
    assert response.headers["allow"] == "POST"


def test_unforeseen_errors_are_told_without_their_internals(client, services):
    def broken() -> None:
        raise RuntimeError("/home/me/secret.db is broken")

    services.before = broken
    response = client.post("/v1/search", json={"question": "tea"})
    assert response.status_code == 500
    assert error_of(response)["code"] == "internal"
    assert "secret" not in response.text
    assert "Traceback" not in response.text


def test_server_goes_on_after_an_unforeseen_error(services):
    def broken() -> None:
        raise RuntimeError("broken")

    services.before = broken
    with serving(services) as client:
        for _ in range(5):
            assert client.post("/v1/search", json={"question": "tea"}).status_code == 500
        services.before = lambda: None
        assert client.post("/v1/search", json={"question": "tea"}).status_code == 200


def test_bodies_past_the_limit_are_refused_declared_or_not(tmp_path):
    small = Small(tmp_path, max_body_mb=2)
    with TestClient(create_app(small), base_url="http://127.0.0.1") as client:
        fits = {"documents": [{"id": "a", "text": "x" * (2**20 + 2**19)}]}
        assert client.post("/v1/ingest", json=fits).status_code == 200

        def blocks() -> Iterator[bytes]:
            yield from (b" " * 2**18 for _ in range(9))

        for path, content in (
            ("/v1/ingest", b" " * (2**21 + 1)),
            ("/v1/ingest", blocks()),
            ("/v1/search", b" " * (2**20 + 1)),
            ("/v1/search", blocks()),
        ):
            response = client.post(path, content=content, headers={"Content-Type": "application/json"})
            assert (response.status_code, error_of(response)["code"]) == (413, "too_large")
            assert "max_body_mb" in error_of(response)["hint"]
        parts = [("files", ("a.md", b"x" * (2**21 + 1)))]
        assert client.post("/v1/ingest", files=parts).status_code == 413


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.3", "", "0.0.0.0", "[::2]", "[", "@"]
)
def test_other_hosts_names_are_refused_so_that_no_name_can_be_bound_to_loopback(client, services, host):
    services.before = pytest.fail
    response = client.post("/v1/search", json={"question": "tea"}, headers={"Host": host})
    assert (response.status_code, error_of(response)["code"]) == (403, "forbidden")


def test_requests_of_other_web_pages_are_refused(client, services):
    for origin in ("https://evil.example", "null", "http://127.0.0.1:9999", "http://localhost"):
        response = client.post(
            "/v1/ingest",
            files=[("files", ("a.md", b"x"))],
            headers={"Origin": origin, "Host": "127.0.0.1:80"},
        )
        assert (response.status_code, error_of(response)["code"]) == (403, "forbidden")
    for host in ("127.0.0.1:8080", "localhost", "[::1]:1"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert client.post("/v1/search", json={"question": "tea"}, headers=headers).status_code == 200


def test_only_loopback_is_served_until_there_are_keys():
    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"):
        check_bind(host)
    for host in ("0.0.0.0", "::", "", "192.168.1.2", "example.org"):
        with pytest.raises(errors.InvalidSetting, match=r"no keys yet.*127\.0\.0\.1"):
            check_bind(host)


# --- work off the event loop ---------------------------------------------------------------------


def test_health_answers_at_once_while_every_worker_is_at_work(tmp_path):
    small = Small(tmp_path, workers=1, queue=1)
    small.ingest_texts([Document("a", "tea")], collection=None)
    go = threading.Event()
    small.before = lambda: go.wait(30)
    with serving(small) as client:
        answers: list[int] = []

        def search() -> None:
            answers.append(client.post("/v1/search", json={"question": "tea"}).status_code)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            deadline = time.monotonic() + 30
            while not answers:  # one works, one waits, the third is turned away
                assert time.monotonic() < deadline
                time.sleep(0.01)
            refused = client.post("/v1/search", json={"question": "tea"})
            assert (error_of(refused)["code"], refused.headers["retry-after"]) == ("busy", "1")
            health = client.get("/healthz")
            assert health.json() == {"status": "ok", "ready": True, "detail": {"collections": 1}}
            assert answers == [503]
        finally:
            go.set()
            for thread in threads:
                thread.join()
        assert answers == [503, 200, 200]
        assert client.post("/v1/search", json={"question": "tea"}).status_code == 200


def test_health_is_alive_but_not_ready_when_the_data_cannot_be_read(client, services, monkeypatch):
    def damaged() -> dict:
        raise errors.CatalogueDamaged("catalogue.db is not whole; rag doctor says more")

    services.health = damaged
    body = client.get("/healthz").json()
    assert (body["status"], body["ready"]) == ("ok", False)
    assert body["detail"]["error"]["code"] == "catalogue_damaged"
    go = threading.Event()
    monkeypatch.setattr("api.http.health.PATIENCE_S", 0.05)
    calls: list[int] = []

    def stuck() -> dict:
        calls.append(1)
        go.wait(30)
        return {}

    services.health = stuck
    with client:
        try:
            for _ in range(3):
                response = client.get("/healthz")
                assert (response.status_code, response.json()["ready"]) == (200, False)
            assert len(calls) == 1
        finally:
            go.set()


def test_desk_gives_every_place_back_whatever_happens():
    async def story() -> None:
        desk = Desk(workers=1, queue=1)
        with pytest.raises(KeyError):
            await desk.run(lambda: {}["x"])

        def generator() -> Iterator[int]:
            yield from range(3)

        for _ in range(4):
            stream = desk.stream(generator)
            assert [await stream.next() for _ in range(3)] == [0, 1, 2]
            with pytest.raises(StopAsyncIteration):
                await stream.next()
            await asyncio.sleep(0)
        left = desk.stream(generator)
        left.close()
        held = desk.stream(generator)
        with pytest.raises(Refusal):
            desk.stream(generator)
        assert await held.next() == 0
        held.close()
        while True:
            try:
                assert await desk.run(lambda: 7) == 7
                break
            except Refusal:
                await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(story(), 30))


# --- the schema ----------------------------------------------------------------------------------


def test_schema_names_every_route_and_refers_to_nothing_that_is_not_in_it(client):
    schema = client.get("/openapi.json").json()
    asking = {"/v1/search", "/v1/ask", "/v1/feedback"}
    assert set(schema["paths"]) == asking | {"/v1/ingest", "/v1/collections", "/healthz"}

    def refs(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref":
                    yield value
                else:
                    yield from refs(value)
        elif isinstance(node, list):
            for value in node:
                yield from refs(value)

    for ref in refs(schema):
        node = schema
        for part in ref.removeprefix("#/").split("/"):
            node = node[part]
    for path in schema["paths"].values():
        for operation in path.values():
            assert operation["summary"]
            assert operation["responses"]["default"]["content"]["application/json"]["schema"][
                "$ref"
            ].endswith("ErrorOut")


def test_no_page_that_loads_from_elsewhere_is_served(client):
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert client.get(path).status_code == 404
