"""Parsing of office containers, and of bombs that look like them. The files are written here, by hand."""

import io
import struct
import zipfile
import zlib

import pytest

from ingest.parse import ParseOptions, parse
from rag.errors import SourceError

XML = '<?xml version="1.0" encoding="UTF-8"?>'
WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
SHEET = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
SLIDE = (
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main" '
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
)
ODF = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
)
DC = 'xmlns:dc="http://purl.org/dc/elements/1.1/"'
REL_NS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def container(members):
    """A ZIP; a member called mimetype is stored, as ODF and EPUB demand."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content, zipfile.ZIP_STORED if name == "mimetype" else None)
    return buffer.getvalue()


def relations(*targets):
    inside = "".join(
        f'<Relationship Id="r{n}" Type="{kind}" Target="{target}"/>'
        for n, (kind, target) in enumerate(targets, 1)
    )
    return f'{XML}<Relationships xmlns="{PACKAGE}/relationships">{inside}</Relationships>'


def ooxml(main, kind, parts):
    types = (
        f'{XML}<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType="application/'
        'vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/{main}" '
        f'ContentType="application/vnd.openxmlformats-officedocument.{kind}.main+xml"/>'
        "</Types>"
    )
    root = relations(
        (f"{REL_NS}/officeDocument", main),
        (f"{PACKAGE}/relationships/metadata/core-properties", "docProps/core.xml"),
    )
    return container({"[Content_Types].xml": types, "_rels/.rels": root, **parts})


def paragraph(text, style=""):
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{properties}<w:r><w:t>{text}</w:t></w:r></w:p>"


def docx(body, *, head=XML):
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{name}"><w:name w:val="heading {level}"/>'
        f'<w:pPr><w:outlineLvl w:val="{level - 1}"/></w:pPr></w:style>'
        for level, name in ((1, "Heading1"), (2, "Ttulo2"))
    )
    core = (
        f'{XML}<cp:coreProperties xmlns:cp="{PACKAGE}/metadata/core-properties" {DC} '
        'xmlns:dcterms="http://purl.org/dc/terms/"><dc:title>Manual de riego</dc:title>'
        "<dc:creator>Ana Núñez</dc:creator><dcterms:created>2024-03-05T10:00:00Z</dcterms:created>"
        "</cp:coreProperties>"
    )
    return ooxml(
        "word/document.xml",
        "wordprocessingml.document",
        {
            "word/styles.xml": f"{XML}<w:styles {WORD}>{styles}</w:styles>",
            "word/document.xml": f"{head}<w:document {WORD}><w:body>{body}</w:body></w:document>",
            "docProps/core.xml": core,
        },
    )


def table(*rows):
    cells = ("".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in row) for row in rows)
    return "<w:tbl>" + "".join(f"<w:tr>{row}</w:tr>" for row in cells) + "</w:tbl>"


def xlsx(cells):
    return ooxml(
        "xl/workbook.xml",
        "spreadsheetml.sheet",
        {
            "xl/workbook.xml": f'{XML}<workbook {SHEET} xmlns:r="{REL_NS}"><sheets>'
            '<sheet name="Cosechas" sheetId="1" r:id="r1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": relations((f"{REL_NS}/worksheet", "worksheets/sheet1.xml")),
            "xl/worksheets/sheet1.xml": f"{XML}<worksheet {SHEET}><sheetData>{cells}</sheetData></worksheet>",
        },
    )


def pptx(slides):
    def shape(number, kind, lines):
        text = "".join(f"<a:p><a:r><a:t>{line}</a:t></a:r></a:p>" for line in lines)
        return (
            f'<p:sp><p:nvSpPr><p:cNvPr id="{number}" name="s"/><p:cNvSpPr/>'
            f'<p:nvPr><p:ph type="{kind}"/></p:nvPr>'
            f"</p:nvSpPr><p:spPr/><p:txBody><a:bodyPr/>{text}</p:txBody></p:sp>"
        )

    ids = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
    parts = {
        "ppt/presentation.xml": f'{XML}<p:presentation {SLIDE} xmlns:r="{REL_NS}">'
        f"<p:sldIdLst>{ids}</p:sldIdLst>"
        "</p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            *((f"{REL_NS}/slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1))
        ),
    }
    for number, (title, *lines) in enumerate(slides, 1):
        parts[f"ppt/slides/slide{number}.xml"] = (
            f"{XML}<p:sld {SLIDE}><p:cSld><p:spTree>{shape(2, 'title', [title])}{shape(3, 'body', lines)}"
            "</p:spTree></p:cSld></p:sld>"
        )
    return ooxml("ppt/presentation.xml", "presentationml.presentation", parts)


def odt(body):
    return container(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"{XML}<office:document-content {ODF}><office:body>"
            f"<office:text>{body}</office:text>"
            "</office:body></office:document-content>",
            "meta.xml": f"{XML}<office:document-meta {DC} {ODF} "
            'xmlns:meta="urn:oasis:names:tc:opendocument:xmlns:'
            'meta:1.0"><office:meta><dc:title>Guía de poda</dc:title><meta:initial-creator>Luis'
            "</meta:initial-creator></office:meta></office:document-meta>",
        }
    )


def epub(*chapters):
    names = [f"c{n}.xhtml" for n in range(len(chapters))]
    manifest = "".join(f'<item id="{n}" href="{n}" media-type="application/xhtml+xml"/>' for n in names)
    spine = "".join(f'<itemref idref="{n}"/>' for n in names)
    return container(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": f"{XML}<container "
            'xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="c.opf"/></rootfiles></container>',
            "c.opf": f'{XML}<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
            f"<metadata {DC}><dc:title>"
            "Cuentos</dc:title><dc:creator>Emilia Pardo</dc:creator><dc:language>es</dc:language></metadata>"
            f"<manifest>{manifest}</manifest><spine>{spine}</spine></package>",
            **{
                name: f'{XML}<html xmlns="http://www.w3.org/1999/xhtml"><body>{body}</body></html>'
                for name, body in zip(names, chapters, strict=True)
            },
        }
    )


def one(uri, data):
    [document] = parse(uri, data)
    return document


def refused(uri, data, **kwargs):
    with pytest.raises(SourceError) as caught:
        list(parse(uri, data, **kwargs))
    return caught.value


MANUAL = docx(
    paragraph("Riego de España", "Heading1")
    + paragraph("El niño dijo “hola”.")
    + paragraph("Válvulas", "Ttulo2")
    + table(["Zona", "Litros"], ["Norte", "120"], ["Sur | este", "80"])
)


def test_docx_keeps_headings_tables_and_its_properties():
    document = one("manual.docx", MANUAL)
    assert document.text == (
        "# Riego de España\n\nEl niño dijo “hola”.\n\n## Válvulas\n\n"
        "| Zona | Litros |\n| --- | --- |\n| Norte | 120 |\n| Sur \\| este | 80 |\n"
    )
    assert document.title == "Manual de riego"
    assert document.metadata["author"] == "Ana Núñez"
    assert document.metadata["date"] == "2024-03-05T10:00:00Z"


def test_xlsx_becomes_a_table_a_sheet():
    rows = (
        '<row r="1"><c r="A1" t="inlineStr"><is><t>Año</t></is></c>'
        '<c r="B1" t="inlineStr"><is><t>Kilos</t></is></c>'
        '</row><row r="2"><c r="A2"><v>2024</v></c><c r="B2"><v>1350.5</v></c></row>'
    )
    document = one("cosechas.xlsx", xlsx(rows))
    assert document.text == "## Cosechas\n\n| Año | Kilos |\n| --- | --- |\n| 2024 | 1350.5 |\n"
    assert document.title == "cosechas"


def test_pptx_slides_are_pages():
    document = one(
        "plan.pptx", pptx([("Plan de riego", "Primero medir", "Luego regar"), ("Resultados", "Menos agua")])
    )
    assert "## Plan de riego\n\nPrimero medir\n\nLuego regar\n\n## Resultados\n\nMenos agua" in document.text
    assert document.page_at(document.text.index("Luego")) == "1"
    assert document.page_at(document.text.index("## Resultados")) == "2"


def test_odt_keeps_headings_lists_and_tables():
    cells = "<table:table-cell><text:p>Mes</text:p></table:table-cell>" * 2
    body = (
        '<text:h text:outline-level="1">Poda</text:h><text:p>La poda del olivo.</text:p>'
        "<text:list><text:list-item><text:p>enero</text:p></text:list-item></text:list>"
        f"<table:table><table:table-row>{cells}</table:table-row></table:table>"
    )
    document = one("poda.odt", odt(body))
    assert document.text.startswith("# Poda\n\nLa poda del olivo.\n\n- enero\n\n| Mes | Mes |")
    assert (document.title, document.metadata["author"]) == ("Guía de poda", "Luis")


def test_epub_keeps_chapters_code_and_metadata():
    code = '<pre><code class="language-python">x = 1\ny = 2</code></pre>'
    document = one("c.epub", epub("<h1>Uno</h1><p>Había un niño.</p>", f"<h1>Dos</h1>{code}"))
    assert document.text == "# Uno\n\nHabía un niño.\n\n# Dos\n\n```python\nx = 1\ny = 2\n```"
    assert (document.title, document.metadata["author"]) == ("Cuentos", "Emilia Pardo")


def test_rtf_reads_accents_and_tables_and_is_damaged_when_cut_off():
    data = (
        rb"{\rtf1\ansi\ansicpg1252{\info{\title Carta}}El ni\'f1o de Espa\'f1a dijo \u8220?hola\u8221?.\par "
        rb"\trowd\cellx1000\cellx2000 a\cell b\cell\row\pard Fin.\par}"
    )
    document = one("carta.doc", data)
    assert document.text.startswith("El niño de España dijo “hola”.\n\n| a | b |")
    assert document.title == "Carta"
    assert refused("carta.rtf", data[:-30]).code == "damaged"


def test_mail_has_its_subject_as_title_and_its_date_in_iso_form():
    data = (
        "From: Ana <ana@example.org>\r\nTo: luis@example.org\r\nSubject: =?utf-8?q?Reuni=C3=B3n?=\r\n"
        "Date: Tue, 5 Mar 2024 10:00:00 +0100\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
        "Content-Transfer-Encoding: quoted-printable\r\n\r\nMa=F1ana a las 10.\r\n"
    )
    document = one("m.eml", data.encode())
    assert "Mañana a las 10." in document.text
    assert (document.title, document.metadata["date"]) == ("Reunión", "2024-03-05T10:00:00+01:00")


def test_a_wrongly_named_container_is_parsed_as_what_it_is():
    assert one("manual.txt", MANUAL).title == "Manual de riego"
    assert one("manual.xlsx", MANUAL).title == "Manual de riego"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize(
    ("name", "data"),
    [("a.docx", MANUAL), ("a.xlsx", xlsx("")), ("a.epub", epub("<p>x</p>")), ("a.odt", odt(""))],
)
def test_a_truncated_container_is_damaged(name, data, share):
    assert refused(name, data[: int(len(data) * share)]).code == "damaged"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.zip", container({"photo.jpg": b"x"}), "unsupported"),
        ("a.docx", container({"photo.jpg": b"x"}), "damaged"),
        ("a.ods", container({"mimetype": "application/vnd.oasis.opendocument.spreadsheet"}), "unsupported"),
        ("a.docx", docx(""), "empty"),
        (
            "a.doc",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "WordDocument".encode("utf-16-le"),
            "unsupported",
        ),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "encrypted"),
        ("a.bin", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "encrypted"),
        ("a.docx", docx(paragraph("x"), head=XML + '<!DOCTYPE w [<!ENTITY a "aaa">]>'), "damaged"),
        ("a.epub", epub("<!DOCTYPE html [<!ENTITY a 'b'>]><p>&a;</p>"), "damaged"),
    ],
)
def test_bad_containers_give_their_reason_code(name, data, code):
    assert refused(name, data).code == code


# Bombs

OPTIONS = ParseOptions(max_bytes_expanded=1 << 20, max_archive_entries=100)


def handmade(packed, declared, *, checksum=0, flags=0, method=8, copies=1):
    """A ZIP whose directory says what the test wants it to say; copies share one member's bytes."""
    name = b"word/document.xml"
    fields = struct.pack("<HHHHIIIHH", flags, method, 0, 0, checksum, len(packed), declared, len(name), 0)
    local = b"PK\x03\x04" + struct.pack("<H", 20) + fields + name + packed
    entry = b"PK\x01\x02" + struct.pack("<HH", 20, 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    end = struct.pack("<HHHHIIH", 0, 0, copies, copies, len(entry) * copies, len(local), 0)
    return local + entry * copies + b"PK\x05\x06" + end


def deflated(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


ZEROS = deflated(bytes(8 << 20))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (handmade(ZEROS, 8 << 20), "too_large"),  # says so
        (handmade(ZEROS, 1000, checksum=zlib.crc32(bytes(1000))), "too_large"),  # says a thousand bytes
        (handmade(deflated(bytes(9000)), 1000, checksum=zlib.crc32(bytes(1000))), "damaged"),
        (handmade(deflated(bytes(50_000)), 50_000, copies=50), "too_large"),  # members that overlap
        (handmade(deflated(b"x"), 1, copies=101), "too_large"),
        (handmade(deflated(b"x"), 1, flags=1), "encrypted"),
        (handmade(b"x", 1, method=14), "unsupported"),
        (handmade(b"\xff\xff\xff", 10), "damaged"),
    ],
)
def test_zip_bombs_are_refused_before_any_library_sees_them(data, code):
    assert refused("a.docx", data, options=OPTIONS).code == code
