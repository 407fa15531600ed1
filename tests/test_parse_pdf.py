"""Parsing of PDFs. The files are written here, operator by operator."""

import zlib

import pytest

from ingest.parse import ParseOptions, parse
from ingest.parse.pdf import unfold_prose, without_running_lines
from rag.errors import SourceError


def pdf(*streams, catalog=b"", trailer=b"", extra=b"", kids=b"", count=0):
    """A PDF with one page a content stream, in Helvetica with Windows' encoding."""
    pages = [4 + 2 * n for n in range(len(streams))]
    kids = kids or b" ".join(b"%d 0 R" % page for page in pages)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R%s>>" % catalog,
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, count or len(streams)),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for page, stream in zip(pages, streams, strict=True):
        objects.append(
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Resources<</Font<</F1 3 0 R>>>>"
            b"/Contents %d 0 R>>" % (page + 1)
        )
        objects.append(b"<</Length %d%s>>stream\n%s\nendstream" % (len(stream), extra, stream))
    out, offsets = b"%PDF-1.5\n", []
    for number, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    size = len(objects) + 1
    return (
        out
        + b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF\n"
        % (
            size,
            table,
            size,
            trailer,
            len(out),
        )
    )


def page(*lines):
    """A content stream: (size, text) from the top down."""
    out, y = [], 740
    for size, text in lines:
        out.append(b"BT /F1 %d Tf 72 %d Td (%s) Tj ET" % (size, y, text.encode("cp1252")))
        y -= 2 * size
    return b"\n".join(out)


def spaceless(y, text):
    """A line as LaTeX writes it: no space characters, words only moved apart, letters kerned."""
    words = (b"(%s)-15(%s)" % (word[:1], word[1:]) for word in text.encode("cp1252").split())
    return b"BT /F1 11 Tf 72 %d Td [%s] TJ ET" % (y, b"-333".join(words))


def one(data, **kwargs):
    [document] = parse("a.pdf", data, **kwargs)
    return document


def refused(data, **kwargs):
    with pytest.raises(SourceError) as caught:
        list(parse("a.pdf", data, **kwargs))
    return caught.value


def test_words_set_apart_without_space_characters_do_not_stick_together():
    lines = [
        "Guía del nuevo desarrollador de Debian",
        "El mantenedor comprueba cada paquete antes de publicarlo,",
        "y responde a los informes de fallos que recibe.",
    ]
    text = one(pdf(b"\n".join(spaceless(700 - 14 * n, line) for n, line in enumerate(lines)))).text
    for word in " ".join(lines).split():
        assert f" {word} " in f" {' '.join(text.split())} ", text


def test_headings_pages_and_printed_labels_are_kept():
    body = "Un párrafo de texto que se lee con calma y sigue un poco más."
    streams = [
        page((24, f"Capítulo {word}"), (11, body), (11, f"Aquí va la parte {word}.")) for word in "ABC"
    ]
    document = one(pdf(*streams, catalog=b"/PageLabels<</Nums[0<</S/r>>2<</S/D/St 7>>]>>"))
    assert [place.label for place in document.pages] == ["i", "ii", "7"]
    for label, word in zip(("i", "ii", "7"), "ABC", strict=True):
        assert document.page_at(document.text.index(f"Capítulo {word}")) == label
        assert document.page_at(document.text.index(f"parte {word}")) == label
    assert document.title == "Capítulo A"
    assert document.text.startswith("# Capítulo A\n\n")


def test_pages_of_one_repeated_line_are_not_taken_for_running_headers_and_lost():
    text = one(pdf(*[page((11, "The same sentence stands on each page."))] * 3)).text
    assert "The same sentence" in text


def test_pages_without_a_text_layer_are_counted_and_a_file_of_them_refused():
    words = page((11, "This page has words enough to be read."))
    assert one(pdf(words, b"", b"")).metadata["pages_without_text"] == 2
    error = refused(pdf(b"", page((11, "Scan 1"))))
    assert error.code == "no_text"
    assert "ocrmypdf" in str(error)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"%PDF-1.7\n", "damaged"),
        (pdf(page((11, "x" * 50)))[:400], "damaged"),
        (
            pdf(
                page((11, "x" * 50)),
                trailer=b"/Encrypt<</Filter/Standard/V 1/R 2/O<%s>/U<%s>/P -44>>/ID[<00><00>]"
                % (b"11" * 32, b"22" * 32),
            ),
            "encrypted",
        ),
        (pdf(b"[" * 200_000), "no_text"),
        (pdf(page((11, "Words enough to be read.")), kids=b"4 0 R " * 20_001, count=20_001), "too_large"),
    ],
)
def test_bad_pdfs_give_their_reason_code(data, code):
    assert refused(data).code == code


def test_a_page_count_that_lies_and_a_compressed_stream_are_no_obstacle():
    words = page((11, "Words enough to be read here."))
    assert "Words enough" in one(pdf(words, count=10**9)).text
    assert "Words enough" in one(pdf(zlib.compress(words), extra=b"/Filter/FlateDecode")).text


def test_limit_on_pages_is_told():
    words = page((11, "Words enough to be read here."))
    assert "3 pages; the limit is 2" in str(
        refused(pdf(words, words, words), options=ParseOptions(max_pages=2))
    )


def test_running_lines_go_but_the_first_of_each_run_stays():
    pages = [
        f"## The Atlas\n\n---\n\n{word}\n\nText of page {n}.\n\nMore {word}.\n\nDraft, page {n} of 7"
        for n, word in enumerate(("red", "blue", "green", "grey", "pink", "white", "black"), 1)
    ]
    kept = without_running_lines(pages, [str(n) for n in range(1, 8)])
    assert kept[0] == pages[0]
    for number, text in enumerate(kept[1:], 2):
        assert "Atlas" not in text
        assert "---" not in text
        assert "Draft" not in text
        assert f"Text of page {number}." in text


def test_headings_that_come_back_later_or_count_up_are_not_running_lines():
    words = [f"{a}{b} stays" for a in "abcde" for b in "vwxyz"]
    pages = [f"## {'Example' if n % 5 == 0 else word}\n\n{word[::-1]}" for n, word in enumerate(words)]
    assert without_running_lines(pages, ["x"] * len(pages)) == pages
    articles = [f"### Article {n}.\n\n{word}" for n, word in enumerate(words)]
    assert without_running_lines(articles, [str(n) for n in range(len(words))]) == articles


PROSE = """\
| 2.6. | Nombre del paquete y versión |
|---|---|
| Si el | código original se presenta como gentoo-0.9.12.tar.gz, puedes llamar al paquete gentoo y dar como |
| versión | original 0.9.12. Estas referencias están en el archivo debian/changelog que se describe en Sec- |
| ción | donde se explica cómo se forma el nombre de un paquete que todavía no está en el archivo |
| del | proyecto, y lo que sucede cuando dos personas eligen a la vez el nombre de un programa |
"""
TABLE = """\
| Option | Meaning |
|---|---|
| host | the address to bind |
| port | the port to bind, and a long explanation of what happens when it is already taken |
| root | where files are |
| quiet | no output |
"""


def test_a_justified_paragraph_cut_into_a_table_is_put_together_again():
    text = unfold_prose(f"Before.\n\n{PROSE}\nAfter.")
    assert text.startswith(
        "Before.\n\n#### 2.6. Nombre del paquete y versión\n\nSi el código original se presenta"
    )
    assert "que se describe en Sección donde" in text
    assert "|" not in text
    assert text.endswith("\n\nAfter.")


def test_a_real_table_stays_a_table():
    assert unfold_prose(TABLE) == TABLE
