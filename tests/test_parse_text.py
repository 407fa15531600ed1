"""Parsing of what is text: Markdown, HTML, tables, JSON, reStructuredText, code; encodings and parts."""

import codecs
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.parse import DEFAULTS, ParseOptions, parse, parser_for
from rag.errors import SourceError

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(__file__).resolve().parents[2] / "shared"
SPANISH = "El niño de España dijo “hola” en la mañana de otoño, según la crónica del pueblo."


def one(uri, data, **kwargs):
    [document] = parse(uri, data.encode() if isinstance(data, str) else data, **kwargs)
    return document


def refused(uri, data, **kwargs):
    with pytest.raises(SourceError) as caught:
        list(parse(uri, data, **kwargs))
    return caught.value


# Which parser


@pytest.mark.parametrize(
    ("uri", "head", "media_type", "name"),
    [
        ("a.txt", b"%PDF-1.7\n", "", "pdf"),
        ("a.pdf", b"just words", "", "text"),
        ("a", b"<!DOCTYPE html><p>x", "", "html"),
        ("a.txt", b"\xef\xbb\xbf\n<!-- c --><html lang=es>", "", "html"),
        ("a.txt", "<html>".encode("utf-16"), "", "html"),
        ("https://e.org/x?y=a.pdf", b"hola", "text/markdown; charset=utf-8", "markdown"),
        ("a.bin", b"{\\rtf1 x}", "", "office"),
        ("a.xml", b"<?xml version='1.0'?><!DOCTYPE html><html>", "", "html"),
        ("a.rss", b"<?xml version='1.0'?><rss/>", "", "xml"),
        ("x.msg", b"Received: from a\r\nSubject: b\r\n\r\nc", "", "office"),
        ("Makefile", b"all:\n", "", "code"),
        ("a.ndjson", b"{}\n", "", "jsonl"),
        ("a.json", b"{}\n", "application/octet-stream", "json"),
        ("notes", b"MZ is how the note begins", "", "text"),
        ("notes", b"ID3 tags and what they hold", "", "text"),
    ],
)
def test_content_decides_then_media_type_then_name(uri, head, media_type, name):
    assert parser_for(uri, head, media_type).name == name


def test_fingerprint_changes_with_the_options_that_shape_this_parsers_output_and_no_others():
    lines, page = (("a.jsonl", b"{}"), ("a.html", b"<html>"))
    other = ParseOptions(text_fields=("summary",))
    assert parser_for(*lines) == parser_for(*lines, options=dataclasses.replace(DEFAULTS))
    assert parser_for(*lines, options=other) != parser_for(*lines)
    assert parser_for(*page, options=other) == parser_for(*page)
    shorter = ParseOptions(max_document_chars=1000)
    assert parser_for(*page, options=shorter) != parser_for(*page)


def test_choosing_a_parser_loads_no_parsing_library():
    heavy = ("kreuzberg", "liteparse", "selectolax", "html_to_markdown", "docutils", "yaml", "py3langid")
    code = (
        "import sys; from ingest.parse import parser_for; import ingest.parse.worker\n"
        f"parser_for('a.pdf', b'%PDF-1'); print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("uri", "data", "code"),
    [
        ("a.md", b"", "empty"),
        ("a.md", b" \n\t\r\n", "empty"),
        ("a.txt", codecs.BOM_UTF8 + b"\n", "empty"),
        ("a.html", b"<html><script>x()</script></html>", "empty"),
        ("a.txt", bytes(range(256)) * 40, "binary"),
        ("a.md", b"\x7fELF\x02\x01\x01" + bytes(200), "binary"),
        ("a.docx", b"\x03\x00\x01" * 500, "damaged"),
        ("a.txt", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "unsupported"),
        ("a.md", b"\xff\xd8\xff\xe0\x00\x10JFIF", "unsupported"),
        ("a.csv", b"\x1f\x8b\x08\x00\x00\x00", "unsupported"),
        ("a.txt", b"\x00\x00\x00 ftypisom" + bytes(40), "unsupported"),
        ("a.json", b'{"a": ', "damaged"),
        ("a.json", b"[" * 100_000 + b"]" * 100_000, "too_large"),
        ("a.json", b"[" * 500 + b"1" + b"]" * 500, "too_large"),
        ("a.html", b"<div>" * 100_000 + b"x", "too_large"),
        ("a.html", b"<b>" * 1_500 + b"x", "too_large"),
        ("a.csv", b"a," * 1_000_000, "too_large"),
        ("a.csv", b'a,b\n"' + b"x" * 200_000 + b'",c\n', "too_large"),
    ],
)
def test_bad_input_gives_its_reason_code(uri, data, code):
    assert refused(uri, data).code == code


def test_limits_on_the_file_and_on_what_comes_out_of_it():
    assert refused("a.txt", b"x" * 11, options=ParseOptions(max_file_bytes=10)).code == "too_large"
    assert refused("a.txt", b"x" * 11, options=ParseOptions(max_total_chars=10)).code == "too_large"


# Encodings


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "cp1252"],
)
def test_spanish_comes_out_right_whatever_its_encoding(encoding):
    assert one("a.txt", SPANISH.encode(encoding)).text == SPANISH


def test_latin_1_russian_and_a_damaged_spot_in_utf_8():
    latin = "El niño español de Cádiz comió piñones."
    assert one("a.txt", latin.encode("latin-1")).text == latin
    russian = "Дождь шёл весь день, и река поднялась до самого моста. " * 8
    assert one("a.txt", russian.encode("cp1251")).text == russian
    spot = SPANISH.encode() + b" \xff " + "después".encode()
    assert one("a.txt", spot).text == SPANISH + " \ufffd después"


def test_media_type_and_html_meta_say_the_charset():
    greek = "Η βροχή στην πόλη και το ποτάμι"
    assert one("a.txt", greek.encode("iso8859-7"), media_type="text/plain; charset=ISO-8859-7").text == greek
    page = f"<html><head><meta charset='iso-8859-7'></head><body><p>{greek}</p></body></html>"
    assert greek in one("a.html", page.encode("iso8859-7")).text


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1).filter(lambda text: text.strip()))
def test_any_unicode_text_survives_utf_8_and_bad_characters_are_marked(text):
    from rag.types import clean_text

    data = text.encode("utf-8", "replace")
    try:
        document = one("a.txt", data)
    except SourceError as error:
        refusal = error.code
    else:
        refusal = ""
        assert document.text == clean_text(document.text)
        assert "\x00" not in document.text
    assert refusal in ("", "binary", "empty", "unsupported")


def test_nul_and_lone_surrogate_become_replacement_characters():
    assert one("a.txt", b"one\x00two three four five").text == "one\ufffdtwo three four five"
    document = one("a.json", b'{"text": "a \\ud800 b", "by": "\\udc00"}')
    assert document.text == "a \ufffd b"
    assert document.metadata["by"] == "\ufffd"


# Parts


@settings(max_examples=50, deadline=None)
@given(
    words=st.lists(st.text(alphabet="abñ \n", min_size=1, max_size=30), min_size=1, max_size=40),
    limit=st.integers(20, 200),
)
def test_parts_joined_are_the_text_and_none_is_longer_than_the_limit(words, limit):
    text = "x" + "".join(words) + "y"
    documents = list(parse("a.txt", text.encode(), options=ParseOptions(max_document_chars=limit)))
    joined = "".join(document.text for document in documents)
    assert "".join(joined.split()) == "".join(text.split())
    assert all(len(document.text) <= limit for document in documents)
    assert [document.id for document in documents] == [
        "a.txt" if number == 1 else f"a.txt#part={number}" for number in range(1, len(documents) + 1)
    ]


def test_parts_end_at_paragraphs_and_repeat_a_tables_head_and_a_code_fence():
    options = ParseOptions(max_document_chars=60)
    text = "A first paragraph of words.\n\nA second one.\n\nA third paragraph that is longer."
    parts = [document.text for document in parse("a.md", text.encode(), options=options)]
    assert parts == ["A first paragraph of words.\n\nA second one.\n\n", "A third paragraph that is longer."]
    rows = "name,kilos\n" + "".join(f"tree {n},{n}\n" for n in range(8))
    tables = [document.text for document in parse("a.csv", rows.encode(), options=options)]
    assert len(tables) > 1
    assert all(table.startswith("| name | kilos |\n|---|---|\n| tree") for table in tables)
    code = "".join(f"line_{n} = {n}\n" for n in range(8))
    blocks = [document.text for document in parse("a.py", code.encode(), options=options)]
    assert len(blocks) > 1
    assert all(block.startswith("```python\n") and block.endswith("\n```\n") for block in blocks)


def test_a_text_of_many_megabytes_streams_in_parts():
    line = "Una línea de un texto que no acaba nunca, de las que hay muchas.\n"
    data = (line * 200_000).encode()
    sizes = [len(d.text) for d in parse("big.txt", data, options=ParseOptions(max_document_chars=1_000_000))]
    assert sum(sizes) == len(line) * 200_000
    assert len(sizes) == 14
    assert max(sizes) <= 1_000_000
    no_line = [len(d.text) for d in parse("a.txt", b"x" * 5_000_000)]
    assert (sum(no_line), max(no_line) <= 4_000_000) == (5_000_000, True)


# Markdown


def test_front_matter_becomes_metadata_and_the_rest_stays_as_it_is():
    document = one(
        "docs/riego.md",
        "---\ntitle: Guía de riego\ndate: 2024-03-05\ntags: [agua, huerto]\nlang: es-ES\ndraft: false\n"
        "by:\n  name: Ana\n---\n\n# Riego\n\n---\n\nTexto | con *marcas*.\n",
    )
    assert document.text == "\n# Riego\n\n---\n\nTexto | con *marcas*.\n"
    assert document.title == "Guía de riego"
    assert document.metadata == {
        "date": "2024-03-05",
        "tags": ("agua", "huerto"),
        "language": "es",
        "draft": False,
        "by.name": "Ana",
        "media_type": "text/markdown",
    }


BOMB = "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "front",
    [
        "---\njust words\n---\n",
        "---\n- a\n- b\n---\n",
        "---\ntitle: one: two\n---\n",
        f"---\na0: &a0 [x, x]\n{BOMB}---\n",
        "---\na: " + "[" * 5_000 + "\n---\n",
        "---\nnever: closed\n",
        "---\nwhen: 2024-99-99\n---\n",
    ],
)
def test_front_matter_that_cannot_be_read_stays_in_the_text(front):
    document = one("a.md", front + "\n# Heading\n\nWords.")
    assert document.text == front + "\n# Heading\n\nWords."
    assert document.title == "Heading"


def test_a_heading_inside_a_code_fence_is_no_title():
    assert one("a.md", "```sh\n# comment\n```\n\n## Real *one* { #real }\n").title == "Real one"
    assert one("notes/plain.md", "no heading here").title == "plain"


def test_deep_markdown_is_kept_and_does_not_hang():
    assert len(one("a.md", b"> " * 100_000 + b"x").text) == 200_001


# HTML

PAGE = """<!doctype html><html lang="es"><head><title>Riego por goteo - El huerto</title>
<meta name="author" content="Ana Núñez"><meta property="article:published_time" content="2024-01-02">
<link rel=canonical href="https://example.org/riego"></head><body>
<header><a href="/">El huerto</a></header><nav>Inicio <nav>Otro</nav></nav>
<div id="cookie-banner">Usamos cookies <div class="consent">Aceptar</div></div>
<main><header><h1>Riego por goteo<a class="headerlink" href="#x">¶</a></h1></header>
<p>El niño regó <b>poco</b>.</p>
<div class="highlight-python notranslate"><div class="highlight"><pre><span>x</span> = 1
<span>if</span> x:
    y = 2</pre></div></div>
<pre><code class="language-js">let a = `b`</code></pre>
<table><tr><th>Mes</th><th>Litros</th></tr><tr><td>enero</td><td>3 | 4</td></tr></table>
<aside>Consejo útil</aside><img src="data:image/png;base64,AAAA" alt="un esquema"></main>
<aside>Publicidad</aside><footer>Aviso legal</footer><script>track()</script></body></html>"""


def test_html_keeps_the_article_and_leaves_the_rest_of_the_page():
    document = one("a.html", PAGE)
    for gone in (
        "Inicio",
        "Otro",
        "cookies",
        "Aceptar",
        "Publicidad",
        "Aviso",
        "track",
        "¶",
        "base64",
        "El huerto",
    ):
        assert gone not in document.text
    assert document.text.startswith("# Riego por goteo\n\nEl niño regó **poco**.")
    assert "```python\nx = 1\nif x:\n    y = 2\n```" in document.text
    assert "```js\nlet a = `b`\n```" in document.text
    assert "| Mes | Litros |\n| --- | --- |\n| enero | 3 \\| 4 |" in document.text
    assert "Consejo útil" in document.text
    assert document.title == "Riego por goteo"
    assert document.metadata["author"] == "Ana Núñez"
    assert document.metadata["date"] == "2024-01-02"
    assert document.metadata["canonical"] == "https://example.org/riego"


def test_html_without_main_keeps_the_body_and_a_short_article_does_not_swallow_it():
    text = one(
        "a.html", "<html><body><p>" + "Mucho texto de la página. " * 20 + "</p><article>Breve</article>"
    ).text
    assert "Mucho texto" in text
    assert "Breve" in text


def test_html_about_cookies_and_the_tabs_that_are_not_open_are_kept():
    page = (
        "<html><body><main><section id='cookie-parameters'><h1>Cookies</h1><p>Read them.</p></section>"
        "<div role='tabpanel' hidden><p>For Windows.</p></div><p hidden>Nobody sees it.</p>"
    )
    assert one("a.html", page).text.split("\n\n") == ["# Cookies", "Read them.", "For Windows.\n"]


def test_declared_language_counts_when_the_text_does_not_tell():
    assert one("a.html", "<html lang='eu'><p>x1 = f(y)</p></html>").metadata["language"] == "eu"
    assert one("a.html", f"<html lang='en'><p>{SPANISH * 3}</p></html>").metadata["language"] == "es"


# Tables and records


@pytest.mark.parametrize(("mark", "name"), [(",", "a.csv"), (";", "a.csv"), ("\t", "a.tsv"), ("|", "a.csv")])
def test_csv_becomes_a_table_whatever_its_delimiter(mark, name):
    rows = [["año", "nota"], ["2023", '"dos, tres; y\n""cuatro"""'], ["2024", "x"]]
    document = one(name, "\r\n".join(mark.join(row) for row in rows))
    assert document.text == '| año | nota |\n|---|---|\n| 2023 | dos, tres; y "cuatro" |\n| 2024 | x |\n'


def test_csv_by_row_gives_one_document_a_row():
    options = ParseOptions(csv_documents="row")
    data = b"id,title,text,precio\na1,Uno,Texto uno.,3\na2,Dos,Texto dos.,4\n"
    first, second = parse("p.csv", data, options=options)
    assert (first.id, first.title, first.text) == ("p.csv#a1", "Uno", "Texto uno.")
    assert second.metadata["precio"] == "4"
    plain = list(parse("p.csv", b"color,size\nred,big\nblue,small\n", options=options))
    assert [d.id for d in plain] == ["p.csv#2", "p.csv#3"]
    assert plain[0].text == "- color: red\n- size: big"


def test_jsonl_gives_one_document_a_record_with_its_fields():
    lines = b'{"_id": "7", "title": "T", "text": "Hello there.", "year": 1999, "tags": ["a"]}\n\n{"a": 1}\n'
    first, second = parse("c.jsonl", lines)
    assert (first.id, first.title, first.text) == ("c.jsonl#7", "T", "Hello there.")
    assert first.metadata["year"] == 1999
    assert first.metadata["tags"] == ("a",)
    assert (second.id, second.text) == ("c.jsonl#3", "- a: 1")
    options = ParseOptions(id_fields=("key",), text_fields=("abstract",), metadata_fields=("year",))
    line = b'{"key": "k", "abstract": "Words.", "year": 5, "other": 6}'
    chosen = one("c.jsonl", line, options=options)
    assert (chosen.id, chosen.text, chosen.metadata["year"]) == ("c.jsonl#k", "Words.", 5)
    assert "other" not in chosen.metadata


def test_bad_lines_of_jsonl_are_named_after_the_good_records_were_yielded():
    data = b'{"id": 1, "text": "a b"}\nnot json\n{"id": 1, "text": "again"}\n[1]\n' + b"[" * 9_000
    data += b'\n{"id": 2, "text": "c d"}\n'
    documents = parse("c.jsonl", data)
    assert [next(documents).id, next(documents).id] == ["c.jsonl#1", "c.jsonl#2"]
    told = r"line 2: not JSON.*line 3: the id '1'.*line 4: a JSON list.*line 5: nested.*other 2"
    with pytest.raises(SourceError, match=told) as caught:
        next(documents)
    assert caught.value.code == "damaged"


def test_json_becomes_an_outline_and_json_lines_called_json_are_records():
    text = one(
        "a.json", '{"name": "Ana", "at": [{"city": "Jaén", "zip": null}, {"city": "Úbeda"}], "ok": true}'
    ).text
    assert text.split("\n") == [
        "- name: Ana",
        "- at:",
        "  - 1:",
        "    - city: Jaén",
        "    - zip: null",
        "  - 2:",
        "    - city: Úbeda",
        "- ok: true",
    ]
    assert [d.id for d in parse("a.json", b'{"id": "x", "text": "a"}\n{"id": "y", "text": "b"}\n')] == [
        "a.json#x",
        "a.json#y",
    ]


# reStructuredText, code, XML

RST = """
Guía
====

:Author: Ana
:Date: 2024-01-01

See :ref:`the other page <other>` and :class:`~pkg.Thing`.

.. code-block:: python

   x = 1

.. versionadded:: 1.2
   A *new* thing.

.. function:: run(a, b)
   :module: pkg

   Runs it.

.. toctree::

   hidden-page

Table
-----

=====  =====
Name   Value
=====  =====
a      1
=====  =====
"""


def test_rst_keeps_headings_code_tables_and_the_content_of_unknown_directives():
    document = one("guia.rst", RST)
    assert (document.title, document.metadata["author"], document.metadata["date"]) == (
        "Guía",
        "Ana",
        "2024-01-01",
    )
    assert "# Guía" in document.text
    assert "## Table" in document.text
    assert "the other page" in document.text
    assert "pkg.Thing" in document.text
    assert "```python\nx = 1\n```" in document.text
    assert "**versionadded 1.2**\n\nA *new* thing." in document.text
    assert "**function run(a, b)**\n\nRuns it." in document.text
    assert "| Name | Value |\n| --- | --- |\n| a | 1 |" in document.text
    assert "hidden-page" not in document.text


def test_rst_reads_no_other_file_and_passes_no_raw_html(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("SECRET words")
    text = one(
        "a.rst",
        f"Title\n=====\n\nVisible.\n\n.. include:: {secret}\n\n.. literalinclude:: {secret}\n\n"
        f".. csv-table::\n   :file: {secret}\n\n.. raw:: html\n\n   <i>RAWTEXT</i>\n\n"
        f".. raw:: html\n   :file: {secret}\n\nEnd.\n",
    ).text
    assert "SECRET" not in text
    assert "RAWTEXT" not in text
    assert "Visible." in text
    assert "End." in text


def test_source_code_is_one_fence_longer_than_any_inside():
    document = one("src/app.py", "x = '''\n```\n'''\n")
    assert document.text == "````python\nx = '''\n```\n'''\n\n````\n"
    assert (document.title, document.metadata["media_type"]) == ("app.py", "text/x-python")


def test_xml_gives_its_text_and_expands_no_entity():
    laughs = "<!DOCTYPE a [<!ENTITY l0 'lol'>" + "".join(
        f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 12)
    )
    body = "<rss><title>Noticias</title><d><![CDATA[a < b]]></d><d>&l11;</d></rss>"
    data = f"<?xml version='1.0'?>{laughs}]>{body}"
    document = one("feed.xml", data)
    assert document.text == "Noticias\na < b\n&l11;"
    assert document.title == "Noticias"


@pytest.mark.shared
def test_every_page_of_the_sample_docs_parses_to_its_own_text_with_title_and_language():
    folder = SHARED / "docs" / "fastapi-docs"
    if not folder.is_dir():
        pytest.skip("needs shared/docs beside the project")
    found = {}
    for path in sorted(folder.rglob("*.md"))[::7]:
        document = one(str(path), path.read_bytes())
        assert document.title
        assert document.text.strip() in path.read_text("utf-8")
        found[path] = document.metadata.get("language")
    assert {language for path, language in found.items() if "es" in path.parts} == {"es"}
