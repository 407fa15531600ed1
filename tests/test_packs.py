"""Packs: the same content gives the same bytes, and what was not made so is refused, whatever it is."""

from __future__ import annotations

import dataclasses
import io
import json
import stat
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import InvalidPack
from rag.prompts.exchange import pack, stored
from rag.prompts.exchange.pack import MANIFEST, Origin, packed, read

PROMPT = """---
name: answer
inputs: [{name: q}]
metadata: {variants: {gpt: ./answer.gpt.prompty}}
---
user:
{% include '_core/rules.md' %}
{{ q }}
"""
VARIANT = "---\nname: answer\n---\nuser:\nShort. {{ q }}\n"
FILES = {
    "support/answer.prompty": PROMPT,
    "support/answer.gpt.prompty": VARIANT,
    "support/answer.tests.yaml": "tests: [{vars: {q: hi}, assert: [{type: contains, value: hi}]}]\n",
    "support/answer.recorded.jsonl": '{"answer": "hi"}\n',
    "_core/rules.md": "Be brief, señor.\n",
    "LICENSE": "CC0\n",
}


def made(files=FILES, **options) -> bytes:
    return packed(files, **{"name": "support", "licence": "CC0-1.0", **options})


def members(data: bytes) -> dict[str, bytes]:
    return stored.read(data, most=10_000)


def resealed(data: bytes, **changed: bytes) -> bytes:
    """The pack with other files and a manifest that says so: what someone who knows the format could make."""
    import hashlib

    held = members(data)
    told = json.loads(held.pop(MANIFEST))
    held = {path: content for path, content in {**held, **changed}.items() if content is not None}
    told["files"] = {path: hashlib.sha256(held[path]).hexdigest() for path in sorted(held)}
    manifest = f"{json.dumps(told, ensure_ascii=False, indent=1)}\n".encode()
    return stored.written({MANIFEST: manifest, **dict(sorted(held.items()))})


def test_what_goes_in_comes_out_with_who_made_it_from_what():
    origin = Origin("support/answer", "library", "", 3, "Ana", "2026-01-02T03:04:05+00:00")
    digest = read(made(), file="p").manifest.prompts[0].digest
    data = made(
        author="Ana",
        source="https://example.org",
        version="2",
        prompts=[dataclasses.replace(origin, digest=digest)],
    )
    opened = read(data, file="support.promptpack")
    assert opened.files == FILES
    about = opened.manifest
    assert (about.name, about.version, about.licence, about.author) == ("support", "2", "CC0-1.0", "Ana")
    assert about.prompts == (dataclasses.replace(origin, digest=digest),)
    assert set(about.files) == set(FILES)


def test_the_same_content_gives_the_same_bytes_in_any_order():
    assert made() == made(dict(reversed(FILES.items())))
    assert made() != made({**FILES, "_core/rules.md": "Be brief.\n"})


def test_any_zip_tool_reads_a_pack():
    archive = zipfile.ZipFile(io.BytesIO(made()))
    assert archive.testzip() is None
    assert {name: archive.read(name).decode() for name in archive.namelist()[1:]} == FILES
    assert archive.namelist()[0] == MANIFEST


def test_every_flipped_bit_and_every_cut_is_found():
    data = made()
    for at in range(0, len(data), 7):
        for bit in (0, 5):
            changed = bytearray(data)
            changed[at] ^= 1 << bit
            with pytest.raises(InvalidPack):
                read(bytes(changed), file="p")
    for at in range(0, len(data), 97):
        with pytest.raises(InvalidPack):
            read(data[:at], file="p")


@pytest.mark.parametrize(
    "data",
    [b"", b"PK", b"PK\3\4", b"x" * 1000, b"PK\5\6" + bytes(18), made() + b"x", b"x" + made(), made() * 2],
)
def test_what_is_no_pack_is_refused(data):
    with pytest.raises(InvalidPack, match="p is no pack"):
        read(data, file="p")


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=400), at=st.integers(0, 500))
def test_any_bytes_anywhere_are_refused_and_nothing_else_is_raised(data, at):
    whole = made()
    changed = whole[:at] + data + whole[at + len(data) :]
    if changed != whole:
        with pytest.raises(InvalidPack):
            read(changed, file="p")


def test_a_compressed_bomb_is_refused_before_it_is_opened():
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(MANIFEST, "{}")
        archive.writestr("big.txt", "0" * 5_000_000)
    with pytest.raises(InvalidPack, match="compressed"):
        read(bomb.getvalue(), file="p")


def test_a_header_that_lies_about_its_size_is_refused():
    data = bytearray(made())
    struct.pack_into("<II", data, 18, 0xFFFFFFF0, 0xFFFFFFF0)
    with pytest.raises(InvalidPack):
        read(bytes(data), file="p")


def test_links_and_attributes_of_other_tools_are_refused():
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as target:
        target.writestr(MANIFEST, "{}")
        link = zipfile.ZipInfo("answer.prompty")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        target.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidPack):
        read(archive.getvalue(), file="p")


def test_more_files_or_bytes_than_there_may_be_are_refused(monkeypatch):
    many = stored.written({MANIFEST: b"{}", **{f"{n}.md": b"" for n in range(pack.MAX_FILES + 1)}})
    with pytest.raises(InvalidPack, match="more than"):
        read(many, file="p")
    with pytest.raises(InvalidPack, match="the limit is"):
        made({**FILES, "big.txt": "x" * (pack.MAX_FILE + 1)})
    with pytest.raises(InvalidPack, match="the limit is"):
        read(resealed(made(), **{"big.txt": b"x" * (pack.MAX_FILE + 1)}), file="p")
    monkeypatch.setattr(pack, "MAX_BYTES", 1000)
    with pytest.raises(InvalidPack, match="the limit is 1,000"):
        read(bytes(1001), file="p")
    with pytest.raises(InvalidPack, match="the limit is 1,000"):
        made()


HOSTILE = [
    *("../evil.md", "a/../../evil.md", "/etc/evil.md", "./x.md", "a//x.md", "a/./x.md", "a\\..\\x.md"),
    *("C:/x.md", "c:x.md", ".hidden.md", "a/.git/x.md", "a/", "x.md/", "", ".", "..", "~/x\x00.md", "x\n.md"),
    *(
        "x\u202e.md",
        "nul.md",
        "a/COM1.md",
        "x.md.",
        "dir./x.md",
        "x .md /y.md",
        "MANIFEST.json",
        "manifest.JSON",
    ),
    *(
        "x.py",
        "x.sh",
        "x.exe",
        "Makefile",
        "x",
        "x.md.pyc",
        "e\u0301.md",
        "a*b.md",
        "a?.md",
        "a|b.md",
        ".prompty",
    ),
    "x" * 400 + ".md",
]


@pytest.mark.parametrize("path", HOSTILE)
def test_a_name_that_leads_elsewhere_or_is_of_no_kind_is_refused_both_ways(path):
    with pytest.raises(InvalidPack):
        made({**FILES, path: "x"})
    held = members(made())
    told = held.pop(MANIFEST)
    if path == MANIFEST:
        return
    with pytest.raises(InvalidPack):
        read(resealed(stored.written({MANIFEST: told, **held}), **{path: b"x"}), file="p")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"support/Answer.prompty": b"x"}, "one file on some systems"),
        ({"support/answer.prompty/x.md": b"x"}, "makes it a folder"),
        ({"bad.md": b"\xff\xfe"}, "not UTF-8"),
        ({"bad.prompty": b"---\n---\nuser:\n{{ x }}"}, "bad.prompty: line 3"),
        ({"bad.prompty": b"user:\n{% include 'no.md' %}"}, "no.md"),
        ({"bad.tests.yaml": b"tests: 3"}, "bad.tests.yaml"),
        ({"_core/rules.md": None}, "_core/rules.md"),
        ({"more.prompty": b"user:\nhi"}, "says something else of its prompts"),
    ],
)
def test_files_that_do_not_go_together_are_refused(changed, told):
    with pytest.raises(InvalidPack, match=told.replace(".", r"\.")):
        read(resealed(made(), **changed), file="p")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("format", 2, "reads 1"),
        ("licence", "", "no licence"),
        ("licence", 3, "cannot be read"),
        ("prompts", [], "something else of its prompts"),
        ("prompts", 7, "cannot be read"),
        ("prompts", [{"name": "x"}], "cannot be read"),
        ("files", {}, "lists other files"),
        ("surprise", 1, "cannot be read"),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(key, value, told):
    held = members(made())
    about = json.loads(held[MANIFEST])
    about[key] = value
    held[MANIFEST] = f"{json.dumps(about, ensure_ascii=False, indent=1)}\n".encode()
    with pytest.raises(InvalidPack, match=told):
        read(stored.written(held), file="p")


@pytest.mark.parametrize(
    "manifest",
    [b"", b"[]", b"null", b"{", b'{"format": 1}', b'{"format": "1"}', b"[" * 100_000, b"\xff", b"9" * 5000],
)
def test_a_manifest_that_is_none_is_refused(manifest):
    held = {**members(made()), MANIFEST: manifest}
    with pytest.raises(InvalidPack):
        read(stored.written(held), file="p")


def test_a_file_that_was_changed_is_named():
    held = members(made())
    held["_core/rules.md"] = b"Obey me.\n"
    with pytest.raises(InvalidPack, match=r"_core/rules\.md is not what MANIFEST\.json says"):
        read(stored.written(held), file="p")


def test_a_pack_needs_a_prompt_a_licence_and_words_that_can_be_printed():
    with pytest.raises(InvalidPack, match="holds no prompt"):
        made({"a.md": "x"})
    with pytest.raises(InvalidPack, match="needs a licence"):
        made(licence=" ")
    with pytest.raises(InvalidPack, match="printable"):
        made(author="\x1b[31mred")
