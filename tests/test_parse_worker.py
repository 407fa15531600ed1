"""The child process: limits, replacement, streaming, and bad files among good ones."""

import io
import os
import resource
import subprocess
import sys
import time
import zipfile
import zlib
from pathlib import Path

import pytest

from ingest.parse import ParseOptions, parse, wire
from ingest.parse.worker import ParserProcess
from rag.errors import SourceError
from rag.types import Document, Page

GOOD = "# Riego\n\nEl niño regó el huerto de la abuela por la mañana.\n".encode()


@pytest.fixture(scope="module")
def process():
    with ParserProcess() as started:
        yield started


def child_of(process):
    """The child's process id: what a test needs to see that it was kept or replaced."""
    return process._child._process.pid if process._child else 0


def refused(process, uri, content):
    with pytest.raises(SourceError) as caught:
        list(process.parse(uri, content))
    return caught.value


def sleeper(process):
    """Make the child deaf, as a parser in an endless loop is."""
    os.kill(child_of(process), 19)  # SIGSTOP


def test_documents_come_back_as_the_parser_made_them(process, tmp_path):
    text = "---\ntitle: T\ntags: [a, b]\ndraft: true\nweight: 0.5\n---\n# Riego\n\nEl niño regó el huerto.\n"
    data = text.encode()
    assert list(process.parse("a.md", data)) == list(parse("a.md", data))
    path = tmp_path / "ñ\n.md"
    path.write_bytes(data)
    assert list(process.parse("a.md", path)) == list(parse("a.md", data))
    lines = b'{"id": 1, "text": "one"}\n{"id": 2, "text": "two"}\n'
    assert list(process.parse("a.jsonl", lines)) == list(parse("a.jsonl", lines))
    slides = (Page(0, "iv"), Page(7, "v"))
    one = Document("a#1", "Hi\ufffd", title="T", uri="a", metadata={"n": 1, "t": ("x",)}, pages=slides)
    frame = iter([wire.pack_document(one)])
    held = next(frame)

    def read(size, at=[0]):  # noqa: B006 - the place in the frame
        at[0] += size
        return held[at[0] - size : at[0]]

    assert wire.unpack_document(*wire.decode(read, max_body=100)) == one


def test_a_file_name_that_is_not_utf_8_survives(process, tmp_path):
    name = os.fsdecode(b"caf\xe9.md")
    (tmp_path / name).write_bytes(GOOD)
    [document] = process.parse(name, tmp_path / name)
    assert document.id == name


def test_one_child_serves_many_files(process):
    list(process.parse("a.md", GOOD))
    before = child_of(process)
    for _ in range(20):
        list(process.parse("a.md", GOOD))
        assert refused(process, "a.md", b"").code == "empty"
    assert child_of(process) == before


def test_options_reach_the_child():
    with ParserProcess(options=ParseOptions(text_fields=("summary",), max_document_chars=50)) as process:
        [document] = process.parse("a.jsonl", b'{"id": 7, "summary": "Words."}')
        assert document.text == "Words."
        assert len(list(process.parse("a.txt", b"word " * 30))) == 3


def test_the_system_s_refusals_have_their_codes(process, tmp_path):
    assert refused(process, "a", tmp_path / "gone").code == "vanished"
    assert refused(process, "a", tmp_path).code == "unreadable"
    os.mkfifo(tmp_path / "pipe")
    assert refused(process, "a", tmp_path / "pipe").code == "unreadable"


def test_bad_files_among_good_ones_cost_one_error_each(process):
    stream = zlib.compress(b"BT (x) Tj ET\n" * 100_000)
    bad = [
        ("a.md", b"", "empty"),
        ("b.txt", bytes(range(256)) * 40, "binary"),
        ("c.pdf", b"%PDF-1.7\n" + stream, "damaged"),
        ("d.docx", b"PK\x03\x04" + bytes(100), "damaged"),
        ("e.html", b"<div>" * 100_000, "too_large"),
        ("f.json", b"[" * 100_000, "too_large"),
        ("g.png", b"\x89PNG\r\n\x1a\n", "unsupported"),
        ("h.csv", b"x," * 1_000_000, "too_large"),
    ]
    for uri, data, code in bad:
        assert refused(process, uri, data).code == code
        [document] = process.parse("good.md", GOOD)
        assert document.title == "Riego"


def test_a_parser_that_takes_too_long_is_killed_and_the_next_file_gets_a_fresh_child():
    with ParserProcess(timeout_s=0.5) as process:
        list(process.parse("a.md", GOOD))
        stuck = child_of(process)
        sleeper(process)
        started = time.monotonic()
        error = refused(process, "a.md", GOOD)
        assert (error.code, "0.5 s" in str(error)) == ("timeout", True)
        assert time.monotonic() - started < 60
        with pytest.raises(ProcessLookupError):
            os.kill(stuck, 0)
        [document] = process.parse("good.md", GOOD)
        assert document.title == "Riego"
        assert child_of(process) != stuck


def test_time_that_the_caller_takes_between_documents_does_not_count():
    lines = b"".join(b'{"id": %d, "text": "%s"}\n' % (n, b"word " * 2_000) for n in range(60))
    with ParserProcess(timeout_s=3) as process:
        documents = process.parse("a.jsonl", lines)
        next(documents)
        time.sleep(3.5)
        assert sum(1 for _ in documents) == 59


@pytest.mark.parametrize("ballast_mb", [0, 600])
def test_a_child_that_dies_in_the_middle_is_a_crash_and_is_replaced(ballast_mb: int):
    # A child's ru_maxrss begins with what its parent has: a large parent is no sign of a greedy child.
    ballast = bytearray(b"x") * (ballast_mb << 20)
    lines = b"".join(b'{"id": %d, "text": "%s"}\n' % (n, b"word " * 20_000) for n in range(50))
    with ParserProcess() as process:
        documents = process.parse("a.jsonl", lines)
        next(documents)
        os.kill(child_of(process), 11)  # SIGSEGV, as a bug in a C library would
        with pytest.raises(SourceError) as caught:
            list(documents)
        assert caught.value.code == "crashed"
        assert [d.title for d in process.parse("good.md", GOOD)] == ["Riego"]
    assert len(ballast) == ballast_mb << 20


def test_a_child_that_died_while_idle_is_replaced_without_a_word(process):
    list(process.parse("a.md", GOOD))
    process._child._process.kill()
    process._child._process.wait()
    assert [d.title for d in process.parse("good.md", GOOD)] == ["Riego"]


def deep_odt():
    """An ODT whose sections nest so deeply that the library's stack overflows."""
    deep = "<text:section>" * 100_000 + "<text:p>x</text:p>" + "</text:section>" * 100_000
    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text")
    )
    content = f"<office:document-content{spaces}><office:body><office:text>{deep}</office:text></office:body>"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text", zipfile.ZIP_STORED)
        archive.writestr("content.xml", content + "</office:document-content>")
    return buffer.getvalue()


def test_a_file_that_overflows_a_librarys_stack_costs_one_child(process):
    assert refused(process, "a.odt", deep_odt()).code in ("crashed", "out_of_memory")
    assert [d.title for d in process.parse("good.md", GOOD)] == ["Riego"]


@pytest.mark.slow
def test_a_pdf_whose_stream_expands_to_half_a_gigabyte_ends_in_bounded_time_and_memory():
    packer = zlib.compressobj(1)
    lines = b"BT /F1 12 Tf 72 700 Td (hola mundo) Tj ET\n" * 25_000
    packed = b"".join(packer.compress(lines) for _ in range(500)) + packer.flush()
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R>>",
        b"<</Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (len(packed), packed),
    )
    data = b"%PDF-1.4\n" + b"".join(b"%d 0 obj\n%s\nendobj\n" % pair for pair in enumerate(objects, 1))
    data += b"trailer<</Root 1 0 R>>\n%%EOF\n"
    with ParserProcess(timeout_s=20, memory_mb=256) as process:
        assert refused(process, "a.pdf", data).code in ("crashed", "out_of_memory", "timeout")
        assert [d.title for d in process.parse("good.md", GOOD)] == ["Riego"]


def test_a_caller_that_stops_early_leaves_nothing_behind_for_the_next_file(process):
    lines = b"".join(b'{"id": %d, "text": "%s"}\n' % (n, b"word " * 20_000) for n in range(50))
    documents = process.parse("a.jsonl", lines)
    next(documents)
    documents.close()
    assert [d.title for d in process.parse("good.md", GOOD)] == ["Riego"]


@pytest.mark.slow
def test_a_file_that_needs_more_memory_than_allowed_is_told_so():
    # Three bytes of JSON become an empty list of 64 in memory: 24 MB become more than 500.
    data = b"[" + b"[]," * 8_000_000 + b"1]"
    with ParserProcess(memory_mb=64) as process:
        assert refused(process, "a.json", data).code == "out_of_memory"
        assert [d.title for d in process.parse("good.md", GOOD)] == ["Riego"]


@pytest.mark.slow
def test_a_big_text_streams_and_the_child_stays_small(tmp_path):
    path = tmp_path / "big.txt"
    line = "Una línea de texto sobre España y su gente, de las que hay muchas.\n".encode()
    with path.open("wb") as file:
        for _ in range(60):
            file.write(line * 15_000)
    size = path.stat().st_size
    assert size > 60_000_000
    with ParserProcess() as process:
        list(process.parse("a.md", GOOD))
        status = Path(f"/proc/{child_of(process)}/status")
        resting = _peak_mb(status)
        longest = total = 0
        for document in process.parse("big.txt", path):
            longest, total = max(longest, len(document.text)), total + len(document.text.encode())
        grown = _peak_mb(status) - resting
    assert total == size
    assert longest <= 4_000_000
    # The file's bytes, and a handful of parts in their stages; so 200 MB of text need some 300 MB.
    assert grown < size / 1e6 + 100


def _peak_mb(status):
    return (
        int(next(line for line in status.read_text().splitlines() if line.startswith("VmHWM")).split()[1])
        / 1e3
    )


def test_the_child_may_not_dump_core_nor_write_big_files(process):
    list(process.parse("a.md", GOOD))
    assert resource.prlimit(child_of(process), resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(child_of(process), resource.RLIMIT_FSIZE)[1] <= 1 << 20
    assert resource.prlimit(child_of(process), resource.RLIMIT_AS)[0] < 6 << 30


def test_what_libraries_print_corrupts_neither_answers_nor_the_terminal():
    code = """
import ingest.parse.worker as worker
noisy = "child.parse = lambda *a, parse=child.parse, **k: (os.write(1, b'OUT'), os.write(2, b'ERR'), "
noisy += "print('PRINT'), parse(*a, **k))[-1]"
noisy = "; import os, ingest.parse.child as child; " + noisy + "; serve"
worker._START = worker._START.replace("; serve", noisy)
with worker.ParserProcess() as process:
    print([d.text for d in process.parse("a.txt", b"words")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("['words']\n", "")


def test_the_child_dies_with_its_parent():
    code = """
import os, signal
from ingest.parse.worker import ParserProcess
process = ParserProcess()
list(process.parse("a.txt", b"words"))
print(process._child._process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    child = Path(f"/proc/{int(done.stdout)}/stat")
    for _ in range(200):
        if not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("the child outlived its parent")


@pytest.mark.parametrize(
    "frame",
    [
        wire.SIZES.pack(1 << 31, 0),
        wire.SIZES.pack(2, 1 << 40),
        wire.SIZES.pack(2, 0) + b"[]",
        wire.SIZES.pack(2, 0) + b"{]",
        wire.encode({"no": "kind"}),
    ],
)
def test_nonsense_on_the_wire_is_recognised(frame):
    rest = bytearray(frame)

    def read(size):
        part = bytes(rest[:size])
        del rest[:size]
        return part

    with pytest.raises(wire.BrokenFrame):
        wire.decode(read, max_body=1000)


@pytest.mark.parametrize(
    "change",
    [
        {"id": 5},
        {"pages": [[1]]},
        {"pages": "x"},
        {"metadata": {"a": {}}},
        {"metadata": {"a": [1]}},
        {"title": None},
    ],
)
def test_a_document_with_a_wrong_field_is_nonsense(change):
    header = {"kind": "document", "id": "a", "title": "", "uri": "", "metadata": {}, "pages": []}
    assert wire.unpack_document(header, b"x") == Document("a", "x")
    with pytest.raises(wire.BrokenFrame):
        wire.unpack_document({**header, **change}, b"x")
    with pytest.raises(wire.BrokenFrame):
        wire.unpack_document(header, b"\xff")
