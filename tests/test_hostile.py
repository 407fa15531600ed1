"""Bad input: each bad file costs one line with a reason code, and the good ones beside it are taken in."""

import io
import os
import random
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from indexes import doctor
from indexes.catalogue import Catalogue
from ingest import job
from ingest.chunk import Chunker
from ingest.parse import ParseOptions
from ingest.parse.worker import ParserProcess
from ingest.read import ParsedSource
from ingest.sources import SourceSettings, open_source, uri_of
from rag.protocols import Space
from rag.retrieve import RetrievalSettings, Retriever
from rag.testing import HashEmbedder

GOOD = 20
LIMIT = 12 << 20
"""What [ingest] max_file_bytes is set to here, so that an enormous file need not be one."""

TOPICS = (
    *("apricot", "basalt", "cello", "dahlia", "ember", "falcon", "glacier", "harbour", "indigo", "juniper"),
    *("kestrel", "lagoon", "marble", "nutmeg", "orchid", "pebble", "quince", "raven", "saffron", "thistle"),
)
"""One for each good file: a question for it has one right answer."""

# --- bad files, byte by byte -----------------------------------------------------------------------


def pdf(
    *streams: bytes, kids: bytes = b"", count: int = 0, trailer: bytes = b"", extra: bytes = b""
) -> bytes:
    """A PDF with one page a content stream, in Helvetica."""
    pages = [4 + 2 * n for n in range(len(streams))]
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>"
        % (kids or b" ".join(b"%d 0 R" % page for page in pages), count or len(streams)),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for page, stream in zip(pages, streams, strict=True):
        objects += [
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            b"/Contents %d 0 R>>" % (page + 1),
            b"<</Length %d%s>>stream\n%s\nendstream" % (len(stream), extra, stream),
        ]
    out, table = b"%PDF-1.5\n", b"0000000000 65535 f \n"
    for number, content in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(out)
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    size = len(objects) + 1
    end = b"xref\n0 %d\n%strailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n"
    return out + end % (size, table, size, trailer, len(out))


def line(text: str) -> bytes:
    return b"BT /F1 11 Tf 72 700 Td (%s) Tj ET" % text.encode("cp1252")


LOCKED = b"/Encrypt<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -44>>/ID[<00><00>]" % (b"11" * 32, b"22" * 32)


def flate_bomb() -> bytes:
    """A page whose content stream of one megabyte or so is half a gigabyte of text operators."""
    packer = zlib.compressobj(1)
    text = b"BT /F1 12 Tf 72 700 Td (hola mundo) Tj ET\n" * 25_000
    packed = b"".join(packer.compress(text) for _ in range(500)) + packer.flush()
    return pdf(packed, extra=b"/Filter/FlateDecode")


def docx(body: str) -> bytes:
    word = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    package = "http://schemas.openxmlformats.org/package/2006"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    members = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships">'
        f'<Relationship Id="r1" Type="{office}" Target="word/document.xml"/></Relationships>',
        "word/document.xml": f"<w:document {word}><w:body>{body}</w:body></w:document>",
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def zip_of(packed: bytes, *, size: int, checksum: int = 0, copies: int = 1, flags: int = 0) -> bytes:
    """A ZIP whose directory says what it is told to: the size, how many members share these bytes."""
    name = b"word/document.xml"
    about = struct.pack("<HHHHIIIHH", flags, 8, 0, 0, checksum, len(packed), size, len(name), 0)
    local = b"PK\x03\x04" + struct.pack("<H", 20) + about + name + packed
    entry = b"PK\x01\x02" + struct.pack("<HH", 20, 20) + about + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    end = struct.pack("<HHHHIIH", 0, 0, copies, copies, len(entry) * copies, len(local), 0)
    return local + entry * copies + b"PK\x05\x06" + end


def zeros(megabytes: int) -> bytes:
    """So many megabytes of zeros, deflated: a flushed block repeats without looking back."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + zlib.compressobj(9, zlib.DEFLATED, -15).flush()


def deep_odt() -> bytes:
    """Sections that nest so deeply that a reader's stack overflows."""
    spaces = "".join(
        f' xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "text")
    )
    deep = "<text:section>" * 100_000 + "<text:p>x</text:p>" + "</text:section>" * 100_000
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.text", zipfile.ZIP_STORED)
        body = f"<office:body><office:text>{deep}</office:text></office:body>"
        archive.writestr("content.xml", f"<office:document-content{spaces}>{body}</office:document-content>")
    return buffer.getvalue()


OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
NOISE = random.Random(5).randbytes(20_000)
WHOLE_DOCX = docx(paragraph("A whole document, before it is cut off. " * 20))


@dataclass(frozen=True)
class Bad:
    """``make`` puts it at a path; the report then has one line for it with one of ``codes``."""

    name: str
    codes: tuple[str, ...]
    make: Callable[[Path], object]


def holds(data: bytes | Callable[[], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data() if callable(data) else data)


BAD = [
    Bad("empty.md", ("empty",), holds(b"")),
    Bad("blank.txt", ("empty",), holds(b" \n\t\r\n \xc2\xa0\n")),
    Bad("script-only.html", ("empty",), holds(b"<html><script>track()</script></html>")),
    Bad("noise.txt", ("binary",), holds(NOISE)),
    Bad("program.md", ("binary",), holds(b"\x7fELF\x02\x01\x01" + bytes(200))),
    Bad("only-nuls.txt", ("binary",), holds(bytes(5_000))),
    Bad("cut-off.pdf", ("damaged",), holds(pdf(line("Words that were whole."))[:300])),
    Bad("cut-off.docx", ("damaged",), holds(WHOLE_DOCX[: len(WHOLE_DOCX) * 2 // 3])),
    Bad("cut-off.json", ("damaged",), holds(b'{"title": "Half", "text": "of it')),
    Bad("locked.pdf", ("encrypted",), holds(pdf(line("Secret words, well hidden."), trailer=LOCKED))),
    Bad("locked.docx", ("encrypted",), holds(OLE + bytes(600) + "EncryptedPackage".encode("utf-16-le"))),
    Bad("locked-member.docx", ("encrypted",), holds(zip_of(b"\x03\x00", size=0, flags=1))),
    Bad("scan.pdf", ("no_text",), holds(pdf(b"0.5 g 72 72 468 648 re f"))),
    Bad("photo.md", ("unsupported",), holds(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + NOISE[:500])),
    Bad("not-a-docx.docx", ("damaged",), holds(b"\x03\x00\x01" * 500)),
    Bad("packed.csv", ("unsupported",), holds(b"\x1f\x8b\x08\x00" + NOISE[:500])),
    Bad("enormous.txt", ("too_large",), lambda path: (path.touch(), os.truncate(path, LIMIT + 1))),
    Bad("wide.csv", ("too_large",), holds(b"a," * 1_000_000)),
    Bad("pages.pdf", ("too_large",), holds(pdf(line("One."), kids=b"4 0 R " * 20_001, count=20_001))),
    Bad("honest-bomb.docx", ("too_large",), holds(lambda: zip_of(zeros(600), size=600 << 20))),
    Bad("lying-bomb.docx", ("damaged", "too_large"), holds(lambda: zip_of(zeros(600), size=1_000))),
    Bad("overlapping-bomb.docx", ("too_large",), holds(lambda: zip_of(zeros(20), size=20 << 20, copies=90))),
    Bad("nested.html", ("too_large",), holds(b"<div>" * 100_000 + b"words")),
    Bad("nested.json", ("too_large",), holds(b"[" * 100_000 + b"]" * 100_000)),
    Bad("nested.docx", ("too_large", "damaged"), holds(lambda: docx("<w:sdt>" * 100_000))),
    Bad("nested.odt", ("crashed", "out_of_memory", "too_large", "damaged"), holds(deep_odt)),
    Bad("gone.md", ("vanished",), lambda path: path.symlink_to("nowhere")),
    Bad("self.md", ("loop",), lambda path: path.symlink_to(path.name)),
    Bad("up", ("loop",), lambda path: path.symlink_to("..")),
    Bad("outside.md", ("blocked",), lambda path: path.symlink_to(sys.executable)),
    Bad("pipe.md", ("unsupported",), os.mkfifo),
    Bad("new\nline.md", ("empty",), holds(b"")),
    Bad(os.fsdecode(b"caf\xe9.txt"), ("binary",), holds(NOISE)),
    Bad("\x1b[31mred\x07.md", ("empty",), holds(b"")),
]


@dataclass(frozen=True)
class Odd:
    """A file that looks bad and is not: it is taken in, and ``found`` stands in its text."""

    name: str
    found: str
    data: bytes


SPANISH = "Cigüeñas y ruiseñores: mañana @ después, según él. Otoño aquí, niños allá, cañas y piñas.".encode()

ODD = [
    Odd("latin.txt", "El niño español comió piñones", "El niño español comió piñones.".encode("latin-1")),
    Odd("wide.txt", "La cigüeña vuelve en otoño", "La cigüeña vuelve en otoño.".encode("utf-16")),
    Odd("spot.md", "mañana \ufffd después", SPANISH.replace(b"@", b"\xff")),
    Odd("nul.txt", "before\ufffdafter", b"before\x00after, and enough words around it"),
    Odd("surrogate.json", "half \ufffd a pair", b'{"text": "half \\ud800 a pair"}'),
    Odd("raw-surrogate.md", "mañana \ufffd", SPANISH.replace(b"@", b"\xed\xa0\x80")),
    Odd("really-a-pdf.txt", "Words of a page", pdf(line("Words of a page under a wrong name."))),
    Odd("really-a-docx.pdf", "wrongly named letter", docx(paragraph("A wrongly named letter."))),
    Odd("really-text.pdf", "plain words", b"Only plain words in here."),
    Odd("odd\n\x1b[31m.md", "odd name", b"# Odd\n\nA file with an odd name."),
    Odd(os.fsdecode(b"espa\xf1ol.md"), "nombre en latin", b"# Nombre\n\nUn nombre en latin-1."),
]


# --- the whole ingest ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def parser() -> Iterator[ParserProcess]:
    with ParserProcess(timeout_s=30, memory_mb=512, options=ParseOptions(max_file_bytes=LIMIT)) as process:
        yield process


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twenty good files, before and after the bad ones in the order of names."""
    home = tmp_path / "docs"
    home.mkdir()
    for number, topic in enumerate(TOPICS):
        name = f"{'0' if number % 2 else 'z'}{number:02}.md"
        (home / name).write_text(f"# About {topic}\n\nAll that is known of the {topic} stands here.\n")
    return home


class Desk:
    """A catalogue, a small embedder, and the ingest of one folder."""

    def __init__(self, catalogue: Catalogue, folder: Path, parser: ParserProcess) -> None:
        self.embedder = HashEmbedder(dim=256)
        self.catalogue = catalogue
        self._chunker = Chunker(self.embedder.tokenizer, max_tokens=self.embedder.info.max_tokens)
        settings = SourceSettings(max_file_bytes=LIMIT)
        self._source = ParsedSource(
            open_source(str(folder), settings=settings), parser, ParseOptions(max_file_bytes=LIMIT)
        )

    def ingest(self, on_progress: Callable[[job.Progress], None] = lambda _: None) -> job.IngestReport:
        space = Space(self._chunker.fingerprint, self.embedder.info)
        with self.catalogue.writer("kb", space) as writer:
            return job.run(
                [self._source],
                writer,
                space=space,
                chunker=self._chunker,
                embedder=self.embedder,
                on_progress=on_progress,
            )

    def texts(self) -> list[str]:
        return [self.catalogue.document("kb", found.id).text for found in self.catalogue.documents("kb")]

    def lost(self) -> list[str]:
        """The topics whose question is not answered by their own file."""
        retriever = Retriever(self.embedder, settings=RetrievalSettings(k=1))
        collection = self.catalogue.collection("kb")
        return [
            topic
            for topic in TOPICS
            if f"About {topic}"
            not in retriever.search(collection, f"what is known of the {topic}")[0].chunk.title
        ]

    def well(self) -> bool:
        report = doctor.check(self.catalogue)
        assert report.ok, report.findings
        return report.ok


@pytest.fixture
def desk(tmp_path: Path, folder: Path, parser: ParserProcess) -> Iterator[Desk]:
    with Catalogue.open(tmp_path / "data", create=True) as catalogue:
        yield Desk(catalogue, folder, parser)


def uri(folder: Path, bad: Bad) -> str:
    """How the report names it: a folder ends in a slash."""
    return uri_of(folder / bad.name) + ("/" if bad.name == "up" else "")


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: ascii(bad.name))
def test_one_bad_file_among_twenty_good_ones_costs_one_line(desk: Desk, folder: Path, bad: Bad):
    bad.make(folder / bad.name)
    report = desk.ingest()
    [failure] = report.counts.failures
    assert failure.uri == uri(folder, bad)
    assert failure.uri.isprintable()
    assert failure.code in bad.codes, failure
    assert failure.detail
    assert not report.ok
    assert (report.counts.documents_added, report.counts.documents_failed) == (GOOD, 1)
    assert desk.lost() == []
    assert desk.well()


def test_all_bad_files_at_once_cost_one_line_each_and_no_good_one(desk: Desk, folder: Path):
    for bad in BAD:
        bad.make(folder / bad.name)
    for odd in ODD:
        (folder / odd.name).write_bytes(odd.data)
    report = desk.ingest()
    told = {failure.uri: failure.code for failure in report.counts.failures}
    assert len(report.counts.failures) == len(BAD)
    assert told.keys() == {uri(folder, bad) for bad in BAD}
    assert {bad.name: told[uri(folder, bad)] for bad in BAD if told[uri(folder, bad)] not in bad.codes} == {}
    assert report.counts.documents_added == GOOD + len(ODD)
    assert desk.lost() == []
    assert desk.well()
    # The next run meets the same files: the same lines, and nothing else to do.
    embedded = len(desk.embedder.embedded)
    again = desk.ingest().counts
    assert {failure.uri: failure.code for failure in again.failures} == told
    assert (again.documents_added, again.documents_updated, again.documents_removed) == (0, 0, 0)
    assert again.documents_unchanged == GOOD + len(ODD)
    assert len(desk.embedder.embedded) == embedded
    assert desk.well()


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(odd.name))
def test_file_that_only_looks_bad_is_taken_in_with_its_words(desk: Desk, folder: Path, odd: Odd):
    (folder / odd.name).write_bytes(odd.data)
    assert desk.ingest().ok
    [text] = [text for text in desk.texts() if odd.found in text]
    assert text.encode("utf-8")  # no lone surrogate
    assert "\0" not in text
    assert desk.well()


def test_bad_file_that_is_mended_is_taken_in_and_good_one_that_breaks_keeps_its_last_text(
    desk: Desk, folder: Path
):
    (folder / "m.json").write_bytes(b'{"text": "not yet')
    assert [failure.code for failure in desk.ingest().counts.failures] == ["damaged"]
    (folder / "m.json").write_bytes(b'{"text": "mended at last"}')
    assert desk.ingest().ok
    assert any("mended at last" in text for text in desk.texts())
    (folder / "m.json").write_bytes(b'{"text": "broken aga')
    assert [failure.code for failure in desk.ingest().counts.failures] == ["damaged"]
    assert any("mended at last" in text for text in desk.texts())
    assert desk.well()


def test_records_before_a_bad_line_are_kept_and_the_line_is_named(desk: Desk, folder: Path):
    lines = [b'{"id": 1, "text": "first record"}', b'{"id": 2, "text":', b'{"id": 3, "text": "third record"}']
    (folder / "r.jsonl").write_bytes(b"\n".join(lines))
    [failure] = desk.ingest().counts.failures
    assert failure.code == "damaged"
    assert "2" in failure.detail
    assert {"first record", "third record"} <= set(desk.texts())
    assert desk.well()


def test_file_that_vanishes_after_it_was_listed_costs_one_line(desk: Desk, folder: Path):
    """The first files are being read while the last of the same listing is taken away."""
    last = sorted(folder.iterdir())[-1]

    def take_away(progress: job.Progress) -> None:
        if progress.items == 3:
            last.unlink()

    report = desk.ingest(take_away)
    assert [(failure.uri, failure.code) for failure in report.counts.failures] == [(uri_of(last), "vanished")]
    assert report.counts.documents_added == GOOD - 1
    assert desk.well()


def test_file_that_turns_into_another_after_it_was_hashed_never_gives_a_mixture(desk: Desk, folder: Path):
    """Too big to be kept in memory between the two readings, and rewritten between them."""
    big = folder / "m.txt"
    big.write_text("first version " + f"{'x' * 50_000} " * 30)

    def rewrite(progress: job.Progress) -> None:
        if progress.items == 3:
            big.write_text("second version " + f"{'y' * 50_000} " * 30)

    desk.ingest(rewrite)
    assert desk.ingest().ok
    [text] = [text for text in desk.texts() if " version " in text]
    assert "first version" not in text
    assert desk.well()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_files_and_folders_cost_one_line_each(desk: Desk, folder: Path):
    (folder / "closed").mkdir()
    (folder / "closed/inside.md").write_text("words")
    (folder / "secret.md").write_text("words")
    (folder / "closed").chmod(0)
    (folder / "secret.md").chmod(0)
    try:
        report = desk.ingest()
    finally:
        (folder / "closed").chmod(0o700)
    assert sorted(failure.code for failure in report.counts.failures) == ["unreadable", "unreadable"]
    assert report.counts.documents_added == GOOD
    assert desk.well()


@pytest.mark.slow
def test_pdf_that_expands_to_half_a_gigabyte_costs_one_line(desk: Desk, folder: Path):
    (folder / "m.pdf").write_bytes(flate_bomb())
    [failure] = desk.ingest().counts.failures
    assert failure.code in ("crashed", "out_of_memory", "timeout", "too_large")
    assert desk.lost() == []
    assert desk.well()


MEASURED = """
import atexit, os, pathlib, re, sys
from api.cli import main

def tell():  # of this program alone: ru_maxrss would begin with what its parent had
    status = pathlib.Path("/proc/self/status").read_text()
    pathlib.Path(os.environ["PEAK"]).write_text(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])

atexit.register(tell)
sys.argv[0] = "rag"
main()
"""


@pytest.mark.slow
@pytest.mark.model
def test_command_with_all_bad_files_ends_in_bounded_time_and_memory(tmp_path: Path, folder: Path):
    """The real thing: the command line, the real model, all bad files at once, as a user meets them."""
    for bad in BAD:
        bad.make(folder / bad.name)
    environment = {
        **os.environ,
        "PEAK": str(tmp_path / "peak"),
        "RAG_DATA": str(tmp_path / "data"),
        "RAG_EMBEDDER__PRECISION": "int8",  # what "auto" takes on most CPUs
        "RAG_INGEST__MAX_FILE_BYTES": str(LIMIT),
        "RAG_INGEST__PARSER_TIMEOUT_S": "30",
        "RAG_INGEST__PARSER_MEMORY_MB": "512",
    }

    def rag(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", MEASURED, *arguments],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=tmp_path,
            env=environment,
        )

    done = rag("ingest", str(folder))
    assert done.returncode == 1
    main_process, parser = int((tmp_path / "peak").read_text()) / 1e3, 512
    assert main_process + parser < 1200, "megabytes"
    assert f"{GOOD} added, {len(BAD)} failed" in done.stdout
    lines = [text for text in done.stderr.splitlines() if "docs/" in text]
    told = [text for text in lines if not re.match(r"\d+/\d+ files, ", text)]  # progress, when it is slow
    assert len(told) == len(BAD), done.stderr
    assert all(text.isprintable() for text in told)
    for bad in BAD:
        name = uri(folder, bad).removeprefix(uri_of(tmp_path) + "/")
        [code] = [text.split(":")[0] for text in told if f": {name}: " in text]
        assert code in bad.codes
    doctor_says = rag("doctor")
    assert doctor_says.returncode == 0, doctor_says.stdout
