"""The command line, as a user meets it: what is printed where, what is done, and the exit code."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from api.cli import app
from api.cli.common import printable
from api.settings import default_toml, keys
from indexes.lock import writer_lock
from rag.embed import BUNDLED

ROOT = Path(__file__).resolve().parent.parent
KNOWLEDGE = ROOT / "examples" / "knowledge"
SCRIPT = Path(sys.executable).parent / "rag"
model = pytest.mark.model

WRITTEN = "12\xa0km/h, 25,00\u202f€, co\xadche, 👩\u200d🔬\n\tñ"
"""What people write: spaces that do not break, a soft hyphen, a joiner."""

ESCAPE = "\x1b[31m"
"""What would turn a terminal's text red."""


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own as the working folder, and no setting but the quickest model, in a precision
    that need not be chosen."""
    for name in os.environ:
        if name.startswith(("RAG_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "float32")
    monkeypatch.chdir(tmp_path)


def rag(*arguments: object, code: int = 0, input: str | None = None) -> Result:
    """Run a command in this process; it must end with this exit code and no exception of ours."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)
    unforeseen = result.exception is not None and not isinstance(result.exception, SystemExit)
    if unforeseen:
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def told(*arguments: object, code: int = 0) -> object:
    """The one JSON value that a command prints with --json; nothing else goes to standard output."""
    return json.loads(rag(*arguments, "--json", code=code).stdout)


def script(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the console script: for what only a process of its own shows."""
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, timeout=120, **options)


@dataclass
class Folder:
    """A small source: Markdown files with a heading and a paragraph each."""

    path: Path

    def write(self, name: str, *paragraphs: str) -> None:
        self.path.mkdir(exist_ok=True)
        text = "\n\n".join([f"# About {name}", *paragraphs]) + "\n"
        (self.path / f"{name}.md").write_text(text, "utf-8")


@pytest.fixture
def docs(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path / "docs")
    folder.write("tea", "Green tea draws for two minutes in water of eighty degrees.")
    folder.write("bread", "The dough is kneaded for ten minutes and rises overnight.")
    folder.write("té", "El té verde reposa dos minutos en agua a ochenta grados.")
    return folder


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of the sample knowledge base, taken in once; for tests that only read."""
    data = tmp_path_factory.mktemp("knowledge") / "data"
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith("RAG_"):
                patch.delenv(name)
        patch.setenv("RAG_EMBEDDER__MODEL", "all-MiniLM-L6-v2")
        patch.setenv("RAG_EMBEDDER__PRECISION", "float32")
        patch.chdir(data.parent)
        rag("ingest", KNOWLEDGE, "--data", data)
    return data


@pytest.fixture
def read(knowledge: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same, as RAG_DATA."""
    monkeypatch.setenv("RAG_DATA", str(knowledge))
    return knowledge


# --- the program -----------------------------------------------------------------------------------


LIBRARIES = (
    *("numpy", "torch", "sqlite3", "httpx", "yaml", "rich", "fastapi", "uvicorn", "faiss", "tantivy"),
    *("jinja2", "langchain_core", "sentence_transformers", "kreuzberg", "liteparse"),
)

LOADED = """
import sys
import api.cli
sys.argv = ["rag", *sys.argv[1:]]
try:
    api.cli.main()
except SystemExit as end:
    assert not end.code
print(*sys.modules, file=sys.stderr)
"""


@pytest.mark.parametrize("arguments", [("--help",), ("ingest", "--help"), ("eval", "run", "--help")])
def test_help_imports_typer_and_little_else(arguments: tuple[str, ...]):
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = set(done.stderr.split())
    assert "Usage: rag" in done.stdout
    assert loaded & set(LIBRARIES) == set()
    ours = {name for name in loaded if name.split(".")[0] in ("rag", "indexes", "ingest", "api")}
    assert {name for name in ours if not name.startswith("api.cli")} <= {"api", "rag", "rag.errors"}
    # typer itself reads the options of a command with pydantic; the list of commands needs none.
    assert ("pydantic" in loaded) <= (len(arguments) > 1)


def test_console_script_prints_help_on_stdout_and_wrong_usage_on_stderr_with_exit_2():
    helped = script("--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    for name in [
        "init",
        "ingest",
        "plan",
        "search",
        "ask",
        "status",
        "doctor",
        "documents",
        "collections",
        "eval",
        "serve",
    ]:
        assert re.search(rf"^ +{name} +[A-Z]", helped.stdout, re.M), name
    wrong = script("serch", "x")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "No such command 'serch'" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ingest",), "PATH_OR_URL"),
        (("ingest", "nowhere"), "nowhere: No such file or directory"),
        (("ingest", "ftp://example.org/a"), "http"),
        (("plan", "nowhere"), "nowhere: No such file or directory"),
        (("search", "tea"), "rag ingest"),
        (("ask", "tea"), "rag ingest"),
        (("doctor",), "rag ingest"),
        (("documents", "list"), "rag ingest"),
        (("documents", "remove"), "--under"),
        (("collections", "remove", "kb", "--yes"), "rag ingest"),
        (("search", "tea", "--where", "language"), "expected =, !=, <"),
        (("ask", "tea", "--var", "language"), "NAME=VALUE"),
        (("serve", "--host", "0.0.0.0"), "127.0.0.1"),
        (("serve", "--port", "70000"), "65535"),
    ],
)
def test_wrong_requests_exit_2_say_what_mends_it_and_leave_nothing_behind(
    tmp_path: Path, arguments: tuple[str, ...], said: str
):
    result = rag(*arguments, code=2)
    assert result.stdout == ""
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_refusal_of_the_system_is_one_line_and_exit_1(docs: Folder, tmp_path: Path):
    (tmp_path / "file").write_text("not a folder")
    result = rag("ingest", docs.path, "--data", tmp_path / "file", code=1)
    assert result.stderr == f"Error: {tmp_path / 'file'}: File exists\n"


def test_wrong_setting_is_named_with_its_line_whatever_the_command(tmp_path: Path):
    (tmp_path / "rag.toml").write_text("[retrieval]\nkk = 3\n")
    result = rag("status", code=2)
    assert result.stderr.startswith(f"Error: {tmp_path / 'rag.toml'}:2: there is no setting [retrieval] kk")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (WRITTEN, WRITTEN),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd"),
        ("a\x9b31m\rb\x7f", "a\ufffd31m\ufffdb\ufffd"),
        ("abc\u202egpj.exe\u2066\u2028", "abc\ufffdgpj.exe\ufffd\ufffd"),
        ("\udcff", "\ufffd"),
    ],
)  # fmt: skip
def test_text_from_outside_keeps_its_spaces_and_loses_what_drives_a_terminal(text: str, shown: str):
    assert printable(text) == shown


# --- init ------------------------------------------------------------------------------------------


def test_init_writes_a_file_whose_every_line_is_a_default_and_never_overwrites_unasked(tmp_path: Path):
    assert "Wrote rag.toml" in rag("init").stdout
    file = tmp_path / "rag.toml"
    assert file.read_text("utf-8") == default_toml()
    assert all(f"{key.rpartition('.')[2]} = " in default_toml() for key in keys())
    assert rag("status").stdout.startswith(f"Data:      {tmp_path / '.rag'} ")
    file.write_text("collection = 'mine'\n")
    assert "--force" in rag("init", code=2).stderr
    assert file.read_text() == "collection = 'mine'\n"
    rag("init", "--force")
    assert file.read_text("utf-8") == default_toml()
    assert "mkdir" in rag("init", "nowhere", code=2).stderr


def test_init_names_the_bundled_models_and_writes_the_chosen_one(tmp_path: Path):
    shown = rag("init").stdout
    assert "The embedding model is multilingual-e5-small." in shown
    assert all(f"  {name}  " in shown and bundled.good_for in shown for name, bundled in BUNDLED.items())
    (tmp_path / "en").mkdir()
    shown = rag("init", "en", "--model", "all-MiniLM-L6-v2").stdout
    assert "The embedding model is all-MiniLM-L6-v2." in shown
    changed = set((tmp_path / "en/rag.toml").read_text().splitlines()) - set(default_toml().splitlines())
    assert changed == {'model = "all-MiniLM-L6-v2"'}


# --- ingest and plan -------------------------------------------------------------------------------


COUNTS = (
    *("documents_added", "documents_updated", "documents_unchanged", "documents_removed", "documents_failed"),
    *("documents_rechunked", "items_reparsed", "chunks", "texts_embedded", "texts_reused"),
)


def promised(*sources: object) -> dict[str, int]:
    """What plan says of the sources; what ingest then does must be the same, count by count."""
    plan = told("plan", *sources)
    assert told("plan", *sources) == plan, "a plan changes nothing"
    codes = [failure["code"] for failure in plan["failures"]]
    done = told("ingest", *sources, code=1 if codes else 0)
    assert {name: plan[name] for name in COUNTS} == {name: done[name] for name in COUNTS}
    assert codes == [failure["code"] for failure in done["failures"]]
    assert (plan["seconds"] > 0) == (plan["texts_embedded"] > 0)
    return {name: done[name] for name in COUNTS if done[name]}


@model
@pytest.mark.slow
def test_ingest_does_what_plan_promised_over_every_kind_of_change(
    docs: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    three = {"documents_added": 3, "chunks": 3, "texts_embedded": 3}
    assert rag("plan", docs.path).stdout == (
        "3 documents: added\n3 chunks: 3 to embed, 0 re-used\nEmbedding on this machine: under 1 s\n"
    )
    assert promised(docs.path) == three
    assert promised(docs.path) == {"documents_unchanged": 3}

    docs.write("tea", "Black tea draws for four minutes in boiling water.")
    docs.write("rice", "Rice is washed until the water runs clear.")
    (docs.path / "bread.md").unlink()
    (docs.path / "empty.md").touch()
    assert promised(docs.path) == {
        "documents_added": 1,
        "documents_updated": 1,
        "documents_unchanged": 1,
        "documents_removed": 1,
        "documents_failed": 1,
        "chunks": 2,
        "texts_embedded": 2,
    }
    (docs.path / "empty.md").unlink()
    sentences = " ".join(f"Sentence {n} of a long text about the harvest of rice." for n in range(40))
    docs.write("long", sentences)
    assert promised(docs.path)["documents_added"] == 1

    (tmp_path / "rag.toml").write_text("[chunker]\ntarget_tokens = 40\n")
    assert "cut or embedded otherwise" in rag("plan", docs.path).stdout
    cut = promised(docs.path)
    assert (cut["documents_rechunked"], cut["documents_unchanged"]) == (4, 4)
    assert cut["texts_reused"] == 3, "the short ones are cut as before"
    assert cut["chunks"] == cut["texts_reused"] + cut["texts_embedded"] > 8
    assert promised(docs.path) == {"documents_unchanged": 4}

    monkeypatch.setenv("RAG_EMBEDDER__PRECISION", "int8")
    embedded = promised(docs.path)
    assert (embedded["documents_rechunked"], embedded.get("texts_reused", 0)) == (4, 0)
    assert embedded["texts_embedded"] == cut["chunks"]
    assert promised(docs.path) == {"documents_unchanged": 4}
    assert told("search", "long harvest of rice", "-k", 1)["hits"][0]["title"] == "About long"
    rag("doctor")


def failure_lines(stderr: str) -> list[str]:
    """What an ingest says on stderr, without the progress lines that a slow machine gets to see."""
    return [text for text in stderr.splitlines() if not re.match(r"\d+/\d+ files, ", text)]


@model
def test_ingest_reports_in_words_and_failures_on_stderr_with_their_code(docs: Folder):
    (docs.path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    (docs.path / "new\nline.md").touch()
    (docs.path / os.fsdecode(b"caf\xe9.md")).touch()
    result = rag("ingest", "docs", code=1)
    assert result.stdout.startswith(
        "Documents: 3 added, 3 failed\nTexts:     3 chunks, 3 embedded, 0 re-used"
    )
    lines = [text.partition(": ")[0::2] for text in failure_lines(result.stderr)]
    assert [(code, rest.partition(": ")[0]) for code, rest in lines] == [
        ("empty", "docs/caf%E9.md"),
        ("empty", "docs/new%0Aline.md"),
        ("unsupported", "docs/photo.png"),
    ]
    failed = rag("documents", "list", "--failed").stdout
    assert failed.splitlines() == failure_lines(result.stderr)
    codes = [item["code"] for item in told("documents", "list", "--failed")]
    assert codes == ["empty", "empty", "unsupported"]
    [row] = told("status")["collections"]
    assert (row["documents"], row["failed"], row["pending"]) == (3, 3, 0)


@model
def test_documents_with_odd_names_are_listed_shown_and_removed_by_them(docs: Folder):
    names = ["two\nlines.md", os.fsdecode(b"caf\xe9.md"), f"{ESCAPE}red.md", "with space.md", "-dash.md"]
    for number, name in enumerate(names):
        (docs.path / name).write_text(f"# Odd {number}\n\nA file with an odd name.")
    rag("ingest", docs.path)
    listed = rag("documents", "list").stdout
    assert len(listed.splitlines()) == 1 + 3 + len(names)
    assert ESCAPE not in listed
    for number, name in enumerate(["two%0Alines.md", "caf%E9.md", "%1B[31mred.md", "with space.md"]):
        assert rag("documents", "show", name).stdout.startswith(f"Odd {number}\n")
        assert rag("documents", "remove", name).stdout == "Removed 1 document.\n"
    assert rag("documents", "remove", "--", "-dash.md").stdout == "Removed 1 document.\n"
    assert told("ingest", docs.path)["documents_added"] == len(names), "a later ingest takes them in again"


@model
def test_text_of_documents_never_drives_the_terminal(tmp_path: Path):
    record = {
        "id": "1",
        "title": f"Red{ESCAPE}\nalert\x07",
        "text": f"A warning {ESCAPE}in red\x9b and 12\xa0km/h.",
    }
    record["author"] = f"Eve{ESCAPE}"
    (tmp_path / "r.jsonl").write_text(json.dumps(record))
    runs = [
        rag("ingest", "r.jsonl"),
        *(rag("search", "warning", *more) for more in ((), ("--json",))),
        *(rag("ask", "What is the warning?", *more) for more in ((), ("--json",))),
        rag("prompts", "render", "answer", "--var", "question=What is the warning?"),
        *(rag("documents", "list", *more) for more in ((), ("--json",))),
        *(rag("documents", "show", "r.jsonl#1", *more) for more in ((), ("--chunks",), ("--json",))),
        rag("search", f"warning {ESCAPE}", "-c", f"no{ESCAPE}", code=2),
    ]  # fmt: skip
    for run in runs:
        assert re.findall("[\x00-\x08\x0b-\x1f\x7f-\x9f]", run.stdout + run.stderr) == []
    assert "12\xa0km/h" in runs[1].stdout
    assert len(rag("documents", "list").stdout.splitlines()) == 2
    # What is withheld from the terminal is still what the program says.
    assert told("documents", "show", "r.jsonl#1")["metadata"]["author"] == record["author"]


@model
def test_writer_s_lock_is_told_with_its_holder_and_stops_no_search_and_no_plan(docs: Folder, tmp_path: Path):
    rag("ingest", docs.path / "tea.md")
    with writer_lock(tmp_path / ".rag/writer.lock"):
        held = rag("ingest", docs.path, code=1)
        assert f"process {os.getpid()} " in held.stderr
        assert rag("ingest", docs.path, "--wait", "0.2", code=1).stderr == held.stderr
        assert told("search", "green tea")["hits"][0]["title"] == "About tea"
        assert told("plan", docs.path)["documents_added"] == 2
    assert told("ingest", docs.path)["documents_added"] == 2


@model
@pytest.mark.slow
def test_precision_is_measured_at_the_first_ingest_and_kept(docs: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RAG_EMBEDDER__MODEL")
    monkeypatch.delenv("RAG_EMBEDDER__PRECISION")
    assert told("ingest", docs.path)["texts_embedded"] == 3
    [row] = told("collections", "list")
    chosen = re.search(r"\((float32|bfloat16|int8)\)$", rag("status").stdout, re.M)
    assert chosen, "what was measured is told"
    docs.write("tea", "Black tea draws for four minutes in boiling water.")
    again = told("ingest", docs.path)
    assert (again["documents_rechunked"], again["texts_embedded"]) == (0, 1)
    assert told("collections", "list")[0]["fingerprint"] == row["fingerprint"]
    assert told("search", "how long does black tea draw?", "-k", 1)["hits"][0]["title"] == "About tea"


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = (
            b"<html><head><title>Harbour</title></head><body><p>The harbour opens at six.</p></body></html>"
        )
        self.send_response(200 if self.path == "/harbour" else 404)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@model
def test_url_of_this_machine_is_blocked_unless_allowed(site: str, monkeypatch: pytest.MonkeyPatch):
    blocked = rag("ingest", f"{site}/harbour", code=1)
    assert blocked.stderr.startswith(f"blocked: {site}/harbour: ")
    assert "allow_private_urls" in blocked.stderr
    monkeypatch.setenv("RAG_INGEST__ALLOW_PRIVATE_URLS", "true")
    taken = rag("ingest", f"{site}/harbour", f"{site}/gone", code=1)
    assert "1 added, 1 failed" in taken.stdout
    assert taken.stderr.startswith(f"http: {site}/gone: ")
    [hit] = told("search", "when does the harbour open?")["hits"]
    assert (hit["uri"], hit["title"]) == (f"{site}/harbour", "Harbour")


@model
def test_data_option_counts_before_the_variable_and_both_before_the_working_folder(
    docs: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RAG_DATA", str(tmp_path / "by-variable"))
    rag("ingest", docs.path, "--data", tmp_path / "by-option")
    assert (tmp_path / "by-option/catalogue.db").exists()
    assert not (tmp_path / "by-variable").exists()
    rag("ingest", docs.path / "tea.md")
    assert [row["documents"] for row in told("collections", "list")] == [1]
    assert [row["documents"] for row in told("collections", "list", "--data", "by-option")] == [3]
    monkeypatch.delenv("RAG_DATA")
    here, there = tmp_path / "here", tmp_path / "niño"
    for folder in (here, there):
        folder.mkdir()
        monkeypatch.chdir(folder)
        assert told("collections", "list") == []
        rag("ingest", docs.path / ("tea.md" if folder == here else "bread.md"))
        assert f"Data:      {folder}/.rag " in rag("status").stdout
    for folder, title in ((here, "About tea"), (there, "About bread")):
        monkeypatch.chdir(folder)
        assert [found["title"] for found in told("documents", "list")] == [title]


@model
def test_console_script_prints_the_report_on_stdout_and_failures_on_stderr(docs: Folder, tmp_path: Path):
    (docs.path / "empty.md").touch()
    done = script("ingest", "docs", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.startswith("Documents: 3 added, 1 failed\n")
    [line] = failure_lines(done.stderr)  # and no warning of a library
    assert line.startswith("empty: docs/empty.md: ")
    found = script("search", "dough", "-k", "1", "--mode", "lexical", cwd=tmp_path)
    assert (found.returncode, found.stderr) == (0, "")
    assert "[[dough]]" in found.stdout
    taken = [name for name in os.listdir(tmp_path) if name != "docs"]
    assert taken == [".rag"], "nothing is written outside the data folder"


# --- search ----------------------------------------------------------------------------------------


@model
def test_search_prints_ranked_passages_with_their_place_and_marked_words(read: Path):
    result = rag("search", "multa por circular por la acera", "-k", 3)
    assert re.findall(r"^(\d)\. \d\.\d{3}  ", result.stdout, re.M) == ["1", "2", "3"]
    assert "Normas de uso y régimen sancionador > Infracciones y multas > Graves" in result.stdout
    assert re.search(r"memoria-anual-2025 > .* > Multas  p\. 2\n", result.stdout)
    assert re.search(r"/normas-y-sanciones\.md  \[\d+-\d+\]\n", result.stdout)
    assert "| [[Circular]] por la [[acera]] | G-1 | 100 € |" in result.stdout
    assert result.stderr == ""


@model
@pytest.mark.parametrize("query", ["multa por circular por la acera", "battery temperature limits"])
def test_search_as_json_gives_spans_that_point_into_the_document(read: Path, query: str):
    result = told("search", query, "-k", 5)
    assert result["query"] == query
    scores = [hit["score"] for hit in result["hits"]]
    assert len(scores) == 5
    assert scores == sorted(scores, reverse=True)
    for hit in result["hits"]:
        document = told("documents", "show", hit["document"])
        assert document["text"][hit["start"] : hit["end"]] == hit["text"]
        cuts = {cut["key"]: cut for cut in document["chunks"]}
        assert (cuts[hit["key"]]["start"], cuts[hit["key"]]["end"]) == (hit["start"], hit["end"])
        assert all(hit["text"][start:end].strip() for start, end in hit["matches"])
    assert any(hit["matches"] for hit in result["hits"])


@model
def test_search_options_decide_how_many_which_and_by_what(read: Path):
    assert len(told("search", "battery", "-k", 2)["hits"]) == 2
    spanish = told("search", "battery", "--where", "language=es")["hits"]
    assert {hit["metadata"]["language"] for hit in spanish} == {"es"}
    only = told("search", "battery", "--where", "language=en", "--where", "media_type=text/html")["hits"]
    assert {Path(hit["uri"]).name for hit in only} == {"bike-specifications.html"}
    assert told("search", "battery", "--where", "language=xx")["hits"] == []
    assert rag("search", "battery", "--where", "language=xx").stdout == "Nothing found.\n"
    either = 'media_type = "text/html" or not (language in (es, en) and title exists)'
    told_apart = told("search", "battery", "-k", 40, "--where", "language=en", "--where", either)["hits"]
    assert {Path(hit["uri"]).name for hit in told_apart} >= {"bike-specifications.html"}
    assert all(hit["metadata"]["language"] == "en" for hit in told_apart)
    unknown = rag("search", "battery", "--where", "Language=es")
    assert (unknown.stdout, unknown.stderr) == (
        "Nothing found.\n",
        "No document has the metadata key 'Language'; there is language\n",
    )
    exact = told("search", "PX-302", "--mode", "lexical")["hits"]
    assert "PX-302" in exact[0]["text"]
    assert told("search", "xyzzyplugh", "--mode", "lexical")["hits"] == []
    assert told("search", "xyzzyplugh", "--mode", "vector")["hits"]


@model
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("search", ""), "question"),
        (("search", "x", "-k", "0"), "1 to 1000"),
        (("search", "x", "--mode", "magic"), "hybrid, vector, lexical"),
        (("search", "x", "-c", "nope"), "no collection 'nope'; there are: default"),
        (("ask", "x", "-c", "nope"), "no collection 'nope'; there are: default"),
        (("ask", "x", "--prompt", "nope"), "there are: answer, answer-es"),
        (("ask", "x", "--var", "tone"), "--var 'tone'"),
        (("documents", "list", "-c", "nope"), "there are: default"),
        (("documents", "show", "nope.md"), "rag documents list"),
        (("documents", "show", ".md"), "rag documents list"),
        (("documents", "remove", "--under", "nowhere"), "rag documents list"),
        (("collections", "remove", "nope", "--yes"), "there are: default"),
    ],
)
def test_what_is_not_there_is_named_with_what_there_is(read: Path, arguments: tuple[str, ...], said: str):
    result = rag(*arguments, code=2)
    assert result.stdout == ""
    assert said in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1


# --- ask -------------------------------------------------------------------------------------------


@model
@pytest.mark.parametrize(
    ("question", "quoted", "source", "notice"),
    [
        (
            "¿Quién es la delegada de protección de datos?",
            "La delegada de protección de datos es Carmen Villalonga",
            "privacidad.docx",
            "Respuesta extractiva",
        ),
        (
            "How many requests per minute does the free plan allow?",
            "| Open | free | 60 | 10,000 | 7 days |",
            "developer-api.md",
            "Extractive answer",
        ),
    ],
)
def test_ask_without_a_model_quotes_cites_and_says_so_in_the_question_s_language(
    read: Path, question: str, quoted: str, source: str, notice: str
):
    result = rag("ask", question)
    answer, _, sources = result.stdout.partition("\nSources:\n")
    assert quoted in answer
    [number] = re.findall(rf"{re.escape(quoted)}.*\[(\d)\]", answer)
    assert re.search(rf"^  \[{number}\] .*{re.escape(source)}$", sources, re.M)
    cited = set(re.findall(r"\[(\d)\]$", answer, re.M))
    assert cited == set(re.findall(r"^  \[(\d)\]", sources, re.M))
    assert notice in sources.splitlines()[-1]
    assert re.fullmatch(r"Trace \w+\n", result.stderr)


@model
@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("What is it?", "I could not find this in the knowledge base."),
        ("¿Qué es eso?", "No lo he encontrado en la base de conocimiento."),
    ],
)
def test_ask_says_when_nothing_is_found_and_cites_nothing(read: Path, question: str, said: str):
    result = rag("ask", question, "--where", "language=xx")
    assert result.stdout.strip() == said
    answer = told("ask", question, "--where", "language=xx")
    assert (answer["found"], answer["citations"], answer["text"]) == (False, [], said)


@model
def test_ask_as_json_carries_citations_and_the_receipt(read: Path):
    answer = told("ask", "How heavy is the cargo bike with its batteries?", "-k", 4, "--where", "language=en")
    assert answer["found"]
    assert answer["extractive"]
    for citation in answer["citations"]:
        document = told("documents", "show", citation["document"])
        assert document["text"][citation["start"] : citation["end"]] == citation["text"]
    receipt = answer["receipt"]
    assert receipt["prompt"] == "answer"
    assert (receipt["model"], [*receipt["generations"]], receipt["where"]) == (
        "extractive",
        ["default"],
        {"language": "en"},
    )
    assert receipt["embedder"] == told("collections", "list")[0]["fingerprint"]
    assert len(receipt["chunks"]) <= 4
    assert {chunk["passage"] for chunk in receipt["chunks"]} >= {c["number"] for c in answer["citations"]}


QUESTIONS = ROOT / "examples" / "questions.jsonl"


@model
@pytest.mark.slow
def test_a_calibrated_collection_answers_its_questions_and_refuses_what_it_is_not_sure_of(
    knowledge: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    data = shutil.copytree(knowledge, tmp_path / "data")
    monkeypatch.setenv("RAG_DATA", str(data))
    foreign, own = "¿Quién pintó Las Meninas?", "How many requests per minute does the free plan allow?"
    before = told("ask", foreign)
    assert (before["found"], before["confidence"]) == (True, None)
    assert told("status")["collections"][0]["calibration"] is None

    made = told("calibrate", QUESTIONS)
    assert made["answerable"] + made["missed"] == 33
    assert (made["unanswerable"], made["held_out"]) == (4, True)
    strict, *_, loose = made["rates"]
    assert strict["answerable"] == 1 > loose["answerable"] >= 0.8
    assert loose["held_out"] < strict["held_out"]

    monkeypatch.setenv("RAG_ANSWER__ANSWERED", "0.8")
    refused = told("ask", foreign)
    assert (refused["found"], refused["citations"]) == (False, [])
    assert refused["confidence"]["value"] < refused["confidence"]["threshold"]
    answered = rag("ask", own).stdout
    assert "| Open | free | 60 | 10,000 | 7 days |" in answered
    assert re.search(r"^Confidence 0\.\d\d, at least 0\.\d\d \(calibrated on \d+ questions: ", answered, re.M)
    assert "default is calibrated on " in rag("status").stdout

    monkeypatch.setenv("RAG_ANSWER__ANSWERED", "1.0")
    assert told("ask", foreign)["found"]
    assert told("calibrate", "--forget") == {"collection": "default", "forgotten": True}
    assert told("calibrate", "--forget") == {"collection": "default", "forgotten": False}
    assert told("ask", foreign)["confidence"] is None


@model
def test_calibration_with_too_few_questions_or_unknown_documents_says_what_is_missing(
    read: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = QUESTIONS.read_text("utf-8").splitlines()
    file = tmp_path / "questions.jsonl"
    file.write_text("\n".join(lines[:12]), "utf-8")
    assert "add 8 more" in rag("calibrate", file, code=2).stderr
    file.write_text("\n".join([*lines, '{"question": "?", "document": "no/such.md"}']), "utf-8")
    assert "no document 'no/such.md'" in rag("calibrate", file, code=2).stderr
    assert "--forget" in rag("calibrate", code=2).stderr
    monkeypatch.setenv("RAG_RETRIEVAL__MODE", "vector")
    assert "hybrid" in rag("calibrate", QUESTIONS, code=2).stderr


MINE = """---
name: Mine
description: A prompt of the user's own folder.
inputs:
  - name: question
    required: true
  - name: context
  - name: tone
    required: true
---
system:
Answer in a {{tone}} tone.

user:
{{context}}

{{question}}
"""


@model
def test_a_rendered_prompt_is_told_by_message_and_by_part_also_of_the_user_s_own(read: Path, tmp_path: Path):
    shipped = rag("prompts", "render", "answer", "--var", "question=¿Cuántos trayectos se hicieron en 2025?")
    roles = re.findall(r"^--- (\w+) ---$", shipped.stdout, re.M)
    assert roles == ["system", "user"]
    assert "3.418.000 trayectos" in shipped.stdout
    assert "Sources:" not in shipped.stdout
    assert re.match(
        r"--- about [\d,]+ tokens: .*context [\d,]+ ---\nprompt: +answer, digest ", shipped.stderr
    )
    assert re.search(r"^context: +\d passages?, [\d,]+ of 2,000 tokens$", shipped.stderr, re.M)
    (tmp_path / "prompts/support").mkdir(parents=True)
    (tmp_path / "prompts/support/mine.prompty").write_text(MINE)
    arguments = ("prompts", "render", "support/mine", "--var", "question=How many?")
    assert "tone" in rag(*arguments, code=2).stderr
    rendered = rag(*arguments, "--var", "tone=dry=very {{question}}")
    assert "Answer in a dry=very {{question}} tone." in rendered.stdout, "a value is never template source"
    assert "support/mine" in rag("ask", "x", "--prompt", "nope", code=2).stderr


class Chat(BaseHTTPRequestHandler):
    """Speaks the OpenAI API: streams an answer that cites passage 1, and one that does not exist."""

    protocol_version = "HTTP/1.1"
    pieces = ("The fine ", f"is 100 €{ESCAPE} [1]", ", some say [77].")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append((body, self.headers["authorization"]))
        if self.headers["authorization"] != "Bearer right":
            error = json.dumps({"error": {"message": f"no{ESCAPE}", "type": "x", "code": None}}).encode()
            self.send_response(401)
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
        for delta, reason in (
            *(({"role": "assistant", "content": p}, None) for p in self.pieces),
            ({}, "stop"),
        ):
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            data = {
                "id": "1",
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m",
                "choices": [choice],
            }
            self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
            self.wfile.flush()
            self.server.gate.wait(60)
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def llm(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    pytest.importorskip("langchain_openai", reason="the extra `openai` is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        server.asked = []
        server.gate = threading.Event()
        server.gate.set()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/v1"
        (tmp_path / "rag.toml").write_text(f'[llm]\nmodel = "openai:m"\nbase_url = "{url}"\n')
        yield server
        server.shutdown()
        thread.join()


@model
def test_ask_with_a_model_prints_its_answer_its_sources_and_what_it_made_up(
    read: Path, llm: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
):
    question = "How much is the fine for riding on the pavement?"
    refused = rag("ask", question, code=1)
    assert "refused the key" in refused.stderr
    monkeypatch.setenv("RAG_LLM_API_KEY", "right")
    shown = rag("prompts", "render", "answer", "--var", f"question={question}").stdout
    asked = len(llm.asked)
    result = rag("ask", question)
    assert result.stdout.startswith("The fine is 100 €\ufffd[31m [1], some say [77].\n")
    assert re.search(r"^  \[1\] ", result.stdout, re.M)
    assert "[77] is cited, but no passage has this number" in result.stderr
    assert "xtractive" not in result.stdout
    assert len(llm.asked) == asked + 1, "a prompt that is shown asks no model"
    body, key = llm.asked[-1]
    assert (body["model"], body["stream"], key) == ("m", True, "Bearer right")
    fence = re.compile(r"passage-[0-9a-f]+")
    for message in body["messages"]:
        assert fence.sub("passage", message["content"]) in fence.sub("passage", shown)
    answer = told("ask", question)
    assert answer["text"] == "".join(Chat.pieces)
    assert (answer["extractive"], answer["unknown_citations"]) == (False, [77])
    assert answer["receipt"]["model"] == "openai:m"
    assert "right" not in json.dumps(answer["receipt"])


@model
def test_answer_of_a_model_is_printed_as_it_comes(
    read: Path, llm: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
):
    """The server sends the first piece and then nothing, until that piece was seen here."""
    monkeypatch.setenv("RAG_LLM_API_KEY", "right")
    llm.gate.clear()
    asking = subprocess.Popen([SCRIPT, "ask", "How much is the fine?"], stdout=subprocess.PIPE)
    try:
        assert asking.stdout.read(len(Chat.pieces[0])) == Chat.pieces[0].encode()
        llm.gate.set()
        rest = asking.communicate(timeout=60)[0].decode()
    finally:
        llm.gate.set()
        asking.kill()
        asking.wait()
    assert rest.startswith("is 100 €\ufffd[31m [1], some say [77].\n")
    assert asking.returncode == 0


# --- status, doctor, documents, collections --------------------------------------------------------


@model
def test_status_says_where_the_data_lies_what_is_in_it_and_what_answers(read: Path):
    result = rag("status").stdout
    assert f"Data:      {read}  (" in result
    assert "LLM:       none (answers are extractive)" in result
    assert re.search(r"^default +29 +\d+ +0 +0 +default/000001$", result, re.M)
    status = told("status")
    assert status["bytes"] > 100_000
    [row] = status["collections"]
    assert (row["name"], row["documents"], row["failed"], row["pending"]) == ("default", 29, 0, 0)


@model
def test_lost_index_costs_no_answer_and_doctor_tells_and_mends_it(docs: Folder, tmp_path: Path):
    rag("ingest", docs.path)
    before = told("search", "how is dough made?")
    assert "All well" in rag("doctor").stdout
    assert told("doctor")["ok"]
    shutil.rmtree(tmp_path / ".rag/indexes")
    assert told("search", "how is dough made?") == before
    sick = rag("doctor", code=1)
    assert "Not well" in sick.stdout
    assert "rag doctor --repair" in sick.stdout
    assert told("doctor", code=1)["findings"][0]["severity"] == "warning"
    assert "repaired: built a generation of default" in rag("doctor", "--repair").stdout
    assert rag("doctor").stdout.startswith("All well")
    assert told("search", "how is dough made?") == before


@model
def test_damaged_index_file_is_found_and_mended_and_a_stray_removed(docs: Folder, tmp_path: Path):
    rag("ingest", docs.path)
    before = told("search", "dough")
    victim = max(
        (tmp_path / ".rag/indexes").rglob("*"), key=lambda path: path.is_file() and path.stat().st_size
    )
    victim.write_bytes(victim.read_bytes()[:-7] + b"garbage")
    (tmp_path / ".rag/indexes/stray").mkdir()
    assert told("search", "dough") == before
    invariants = {finding["invariant"] for finding in told("doctor", code=1)["findings"]}
    assert invariants == {"generations", "strays"}
    assert told("doctor", "--repair")["ok"]
    assert not (tmp_path / ".rag/indexes/stray").exists()
    assert told("search", "dough") == before


@model
def test_documents_are_listed_and_shown_as_they_were_read(read: Path):
    listed = told("documents", "list")
    assert len(listed) == 29
    assert all(found["chunks"] > 0 and found["characters"] > 0 for found in listed)
    rows = rag("documents", "list").stdout.splitlines()
    assert rows[0].split() == ["document", "language", "characters", "chunks", "title"]
    assert len(rows) == 30
    shown = told("documents", "show", "tarifas.md")
    assert shown["id"].endswith("/es/tarifas.md")
    assert told("documents", "show", "es/tarifas.md") == shown == told("documents", "show", shown["id"])
    assert shown["metadata"]["language"] == "es"
    text = rag("documents", "show", "tarifas.md").stdout
    assert "Fuera de la zona de servicio | 25,00 €" in text
    cut = rag("documents", "show", "tarifas.md", "--chunks").stdout
    spans = re.findall(r"^--- \d+  \[(\d+)-(\d+)\]", cut, re.M)
    assert [(int(start), int(end)) for start, end in spans] == [
        (c["start"], c["end"]) for c in shown["chunks"]
    ]
    pages = told("documents", "show", "memoria-anual-2025.pdf")["pages"]
    assert [label for _, label in pages][:2] == ["1", "2"]


@model
def test_documents_are_removed_by_name_by_folder_and_never_by_a_name_of_two(tmp_path: Path):
    for folder in ("a", "b"):
        (tmp_path / "kb" / folder).mkdir(parents=True)
        (tmp_path / "kb" / folder / "same.md").write_text(f"# Same\n\nThe file of {folder}.")
        (tmp_path / "kb" / folder / f"only-{folder}.md").write_text(f"# Only\n\nOnly in {folder}.")
    rag("ingest", "kb")
    assert "may be any of" in rag("documents", "remove", "same.md", code=2).stderr
    assert rag("documents", "remove", "a/same.md").stdout == "Removed 1 document.\n"
    assert "no document" in rag("documents", "remove", "a/same.md", code=2).stderr
    assert rag("documents", "remove", "--under", "kb/b").stdout == "Removed 2 documents.\n"
    assert [found["title"] for found in told("documents", "list")] == ["Only"]
    assert told("search", "same file")["hits"][0]["document"].endswith("kb/a/only-a.md")
    assert told("ingest", "kb")["documents_added"] == 3
    rag("doctor")


@model
def test_collections_live_apart_are_listed_and_removed_when_confirmed(docs: Folder):
    rag("ingest", docs.path / "tea.md", "-c", "drinks")
    again = told("ingest", docs.path / "tea.md", docs.path / "bread.md", "-c", "food")
    assert (again["texts_embedded"], again["texts_reused"]) == (1, 1), "no text is embedded twice"
    assert [(row["name"], row["documents"]) for row in told("collections", "list")] == [
        ("drinks", 1),
        ("food", 2),
    ]
    assert re.search(r"^food +2 +2 +", rag("collections", "list").stdout, re.M)
    assert told("search", "dough", "-c", "food")["hits"]
    assert "there are: drinks, food" in rag("search", "dough", code=2).stderr
    rag("collections", "remove", "food", code=1, input="n\n")
    assert len(told("collections", "list")) == 2
    assert "Removed food." in rag("collections", "remove", "food", input="y\n").stdout
    assert [row["name"] for row in told("collections", "list")] == ["drinks"]
    assert "there are: drinks" in rag("search", "dough", "-c", "food", code=2).stderr
    rag("doctor")


# --- eval ------------------------------------------------------------------------------------------


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    folder = tmp_path / "tiny"
    (folder / "qrels").mkdir(parents=True)
    corpus = {
        "d1": "Green tea draws for two minutes.",
        "d2": "The dough rises overnight.",
        "d3": "El té verde reposa dos minutos.",
        f"d4{ESCAPE}": "Rice is washed until the water runs clear.",
    }
    lines = [json.dumps({"_id": name, "title": "", "text": text}) for name, text in corpus.items()]
    (folder / "corpus.jsonl").write_text("\n".join(lines))
    questions = {"q1": "how long does green tea draw?", "q2": "when does the dough rise?"}
    (folder / "queries.jsonl").write_text(
        "\n".join(json.dumps({"_id": name, "text": text}) for name, text in questions.items())
    )
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td2\t1\n")
    return folder


@model
def test_second_evaluation_of_the_same_texts_embeds_no_document(
    judged: Path, monkeypatch: pytest.MonkeyPatch
):
    from rag.embed import SentenceTransformerEmbedder

    embedded: list[str] = []
    embed = SentenceTransformerEmbedder.embed_coded

    def counting(self, texts):
        embedded.extend(texts)
        return embed(self, texts)

    monkeypatch.setattr(SentenceTransformerEmbedder, "embed_coded", counting)
    first = told("eval", "run", judged)
    assert len(embedded) == 4
    second = told("eval", "run", judged)
    assert len(embedded) == 4
    assert [run["scores"] for run in first["runs"]] == [run["scores"] for run in second["runs"]]


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("corpus.jsonl", '{"_id": "d1", "text": "x"}\nnot json\n', "corpus.jsonl:2: not JSON"),
        ("qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\n", "test.tsv:2: 2 columns"),
        ("queries.jsonl", '{"_id": "q1"}\n', "queries.jsonl:1"),
        ("corpus.jsonl", None, "name the collection"),
    ],
)
def test_malformed_set_is_refused_by_file_and_line_and_leaves_nothing_behind(
    judged: Path, tmp_path: Path, file: str, text: str | None, said: str
):
    if text is None:
        (judged / file).unlink()
    else:
        (judged / file).write_text(text)
    result = rag("eval", "run", judged, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert said in result.stderr
    if (tmp_path / ".rag").exists():
        assert told("collections", "list") == []


def test_unknown_system_is_refused_with_those_there_are(judged: Path):
    assert "lexical, vector, hybrid" in rag("eval", "run", judged, "--system", "magic", code=2).stderr


# --- serve -----------------------------------------------------------------------------------------


@model
def test_serve_answers_on_a_free_port_and_ends_cleanly_when_interrupted(read: Path):
    server = subprocess.Popen([SCRIPT, "serve", "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        url = next(
            found[0] for text in server.stderr if (found := re.search(r"http://127\.0\.0\.1:\d+", text))
        )
        assert httpx.get(f"{url}/healthz").json()["ready"]
        answer = httpx.post(f"{url}/v1/search", json={"question": "PX-302", "mode": "lexical"}, timeout=60)
        assert "PX-302" in answer.json()["hits"][0]["text"]
        server.send_signal(signal.SIGINT)
        rest = server.communicate(timeout=60)[1]
    finally:
        server.kill()
    assert server.returncode in (0, 130, -signal.SIGINT)
    assert "Traceback" not in rest


@model
@pytest.mark.slow
def test_interrupted_ingest_says_so_in_a_line_and_the_next_one_completes(docs: Folder, tmp_path: Path):
    for number in range(40):
        docs.write(f"more-{number}", *(f"Paragraph {number} {n} about the harbour." * 12 for n in range(4)))
    run = subprocess.Popen(
        [SCRIPT, "ingest", "docs"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A suite that a shell runs in the background inherits "ignore" for this signal, and so would the run.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while run.poll() is None and not (tmp_path / ".rag/writer.lock").exists():
        time.sleep(0.01)
    while run.poll() is None:  # as a person does: again, when the first came while a library was loading
        run.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(timeout=4)
    _, errors = run.communicate(timeout=60)
    assert run.returncode in (1, 130)
    assert "Traceback" not in errors
    assert told("ingest", docs.path)["documents_failed"] == 0
    assert len(told("documents", "list")) == 43
    rag("doctor")


def test_numpy_is_told_to_let_its_threads_sleep_before_it_is_loaded():
    code = (
        "import sys, os; import api.cli; assert 'numpy' not in sys.modules; "
        "print(os.environ['OPENBLAS_THREAD_TIMEOUT'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_THREAD_TIMEOUT"}
    for given, seen in (({}, "4\n"), ({"OPENBLAS_THREAD_TIMEOUT": "20"}, "20\n")):
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment | given, capture_output=True, text=True, check=True
        )
        assert done.stdout == seen
