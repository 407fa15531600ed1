"""Folders and files as sources: what is listed, how often, under which name, and what bad ones cost."""

import hashlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.names import Globs
from ingest.sources import Found, SourceFailure, SourceSettings, open_source, path_of, uri_of
from rag.errors import NotFound, SourceError, UsageError

NAMES = st.binary(min_size=1, max_size=40).filter(lambda raw: b"/" not in raw and b"\0" not in raw)


def listing(folder: Path, **settings: object) -> list[Found | SourceFailure]:
    return list(open_source(str(folder), settings=SourceSettings(**settings)).list())


def names(folder: Path, **settings: object) -> list[str]:
    """The URIs found below a folder, relative to it; a failure shows its code."""
    prefix = uri_of(folder) + "/"
    return [
        item.uri.removeprefix(prefix) + (f" !{item.code}" if isinstance(item, SourceFailure) else "")
        for item in listing(folder, **settings)
    ]


def write(folder: Path, *paths: str) -> None:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)


# --- names ---------------------------------------------------------------------------------------


@given(NAMES)
def test_uri_of_any_name_is_reversible_and_one_printable_line(name):
    path = Path(os.fsdecode(b"/docs/" + name))
    uri = uri_of(path)
    assert path_of(uri) == path
    assert len(uri.splitlines()) == 1
    uri.encode("utf-8")  # no lone surrogate is left


@given(NAMES, NAMES)
def test_two_names_never_share_a_uri(one, other):
    a, b = uri_of(Path(os.fsdecode(b"/" + one))), uri_of(Path(os.fsdecode(b"/" + other)))
    assert (a == b) == (Path(os.fsdecode(b"/" + one)) == Path(os.fsdecode(b"/" + other)))


def test_accents_and_spaces_stay_readable_in_a_uri():
    assert uri_of(Path("/d/Guía del año (2ª).md")) == "file:///d/Guía del año (2ª).md"
    assert uri_of(Path("/d/a\nb\u202ec%")) == "file:///d/a%0Ab%E2%80%AEc%25"
    assert uri_of(Path(os.fsdecode(b"/d/caf\xe9"))) == "file:///d/caf%E9"


def test_a_uri_that_names_no_local_path_is_refused():
    for uri in ("file://server/share", "https://a.example/", "file:///a%00b", "/plain"):
        with pytest.raises(UsageError, match="file:///"):
            path_of(uri)


# --- listing -------------------------------------------------------------------------------------


def test_folder_lists_its_files_by_name_without_the_hidden_ones(tmp_path):
    write(tmp_path, "b.md", "a/z.md", "a/b/c.txt", ".git/config", ".hidden.md")
    write(tmp_path, "node_modules/x/readme.md", "a/__pycache__/m.pyc", ".venv/lib/x.py", ".rag/catalogue.db")
    assert names(tmp_path) == ["a/b/c.txt", "a/z.md", "b.md"]


def test_hidden_names_count_when_they_are_asked_for_by_name(tmp_path):
    write(tmp_path, ".notes/a.md", ".b.md")
    assert names(tmp_path / ".notes") == ["a.md"]
    assert [item.uri for item in listing(tmp_path / ".b.md")] == [uri_of(tmp_path / ".b.md")]


def test_include_and_exclude_decide_by_path_below_the_folder(tmp_path):
    write(tmp_path, "a.md", "a.txt", "drafts/b.md", "es/c.md", "es/drafts/d.md", "es/deep/e.rst")
    assert names(tmp_path, include=("*.md",), exclude=("drafts",)) == ["a.md", "es/c.md"]
    assert names(tmp_path, include=("es/**/*.md", "es/**/*.rst")) == [
        "es/c.md",
        "es/deep/e.rst",
        "es/drafts/d.md",
    ]
    assert names(tmp_path, exclude=("drafts/", "es/d*/**")) == ["a.md", "a.txt", "es/c.md"]


@given(st.lists(st.sampled_from(["a", "b", "**", "*", "?", "[ab]"]), min_size=2, max_size=5), st.data())
def test_globs_agree_with_a_plain_recursive_matcher(parts, data):
    from fnmatch import fnmatchcase

    def slow(path: list[str], pattern: list[str]) -> bool:
        if not pattern:
            return not path
        if pattern[0] == "**":
            return slow(path, pattern[1:]) or bool(path and slow(path[1:], pattern))
        return bool(path) and fnmatchcase(path[0], pattern[0]) and slow(path[1:], pattern[1:])

    path = data.draw(st.lists(st.sampled_from(["a", "b", "c", "ab"]), min_size=1, max_size=5))
    assert Globs(include=(), exclude=("/".join(parts),)).excludes("/".join(path)) == slow(path, parts)


def test_names_with_newlines_and_bad_bytes_are_listed_and_read(tmp_path):
    for raw in (b"a\nb.md", b"caf\xe9.md", b"100%.md", b"-rf", b"\x1b[2J.md"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + raw)).write_bytes(raw)
    source = open_source(str(tmp_path), settings=SourceSettings())
    found = [item for item in source.list() if isinstance(item, Found)]
    assert sorted(source.open(item).read() for item in found) == sorted(
        os.fsencode(path_of(item.uri).name) for item in found
    )
    assert len(found) == 5


# --- links ---------------------------------------------------------------------------------------


def test_a_real_file_counts_once_whatever_links_to_it(tmp_path):
    write(tmp_path, "v2/a.md", "z.md")
    (tmp_path / "latest").symlink_to("v2")
    (tmp_path / "a-link.md").symlink_to("z.md")
    assert names(tmp_path) == ["v2/a.md", "z.md"]


def test_link_to_what_is_not_listed_otherwise_is_followed_under_its_own_name(tmp_path):
    write(tmp_path, "..2026_01/guide.md", "..2026_01/more/faq.md")
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "guide.md").symlink_to("..data/guide.md")
    (tmp_path / "guide-again.md").symlink_to("..data/guide.md")
    (tmp_path / "more").symlink_to("..data/more")
    assert names(tmp_path) == ["more/faq.md", "guide-again.md"]


def test_link_loops_cost_one_line_each_and_the_rest_goes_on(tmp_path):
    write(tmp_path, "a/b/c.md", "d.md")
    (tmp_path / "a/b/up").symlink_to("..")
    (tmp_path / "a/top").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "broken.md").symlink_to("nowhere")
    assert names(tmp_path) == [
        "a/b/c.md",
        "broken.md !vanished",
        "d.md",
        "self !loop",
        "a/top/ !loop",
        "a/b/up/ !loop",
    ]


def test_links_out_of_the_folder_are_followed_only_when_allowed(tmp_path):
    write(tmp_path, "in/a.md", "out/secret.md", "out/sub/b.md")
    (tmp_path / "in/leak.md").symlink_to(tmp_path / "out/secret.md")
    (tmp_path / "in/more").symlink_to(tmp_path / "out")
    (tmp_path / "out/sub/back").symlink_to(tmp_path / "in")
    (tmp_path / "out/sub/round").symlink_to(tmp_path / "out")
    folder = tmp_path / "in"
    assert names(folder) == ["a.md", "more/ !blocked", "leak.md !blocked"]
    assert "links_outside" in listing(folder)[1].detail
    assert names(folder, links_outside=True) == [
        "a.md",
        "more/secret.md",
        "more/sub/b.md",
        "more/sub/round/ !loop",
    ]


def test_two_folders_that_link_to_each_other_end(tmp_path):
    write(tmp_path, "in/a.md", "x/x.md", "y/y.md")
    (tmp_path / "in/x").symlink_to(tmp_path / "x")
    (tmp_path / "x/y").symlink_to(tmp_path / "y")
    (tmp_path / "y/x").symlink_to(tmp_path / "x")
    assert names(tmp_path / "in", links_outside=True) == ["a.md", "x/x.md", "x/y/y.md"]


def test_a_source_named_through_a_link_keeps_the_name_that_was_given(tmp_path):
    write(tmp_path, "release-1/a.md")
    (tmp_path / "current").symlink_to("release-1")
    assert [item.uri for item in listing(tmp_path / "current")] == [uri_of(tmp_path / "current/a.md")]


# --- what cannot be taken in ---------------------------------------------------------------------


def test_pipes_sockets_and_devices_are_reported_and_never_opened(tmp_path, monkeypatch):
    write(tmp_path, "a.md")
    os.mkfifo(tmp_path / "pipe.md")
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(tmp_path)  # a socket's path is short
        server.bind("s")
        (tmp_path / "null.md").symlink_to("/dev/null")
        assert names(tmp_path) == ["a.md", "null.md !unsupported", "pipe.md !unsupported", "s !unsupported"]


def test_a_pipe_put_in_a_files_place_does_not_block_the_reader(tmp_path):
    write(tmp_path, "a.md")
    source = open_source(str(tmp_path), settings=SourceSettings())
    (found,) = source.list()
    (tmp_path / "a.md").unlink()
    os.mkfifo(tmp_path / "a.md")
    with pytest.raises(SourceError, match="named pipe") as caught:
        source.open(found)
    assert caught.value.code == "unsupported"


def test_file_that_goes_between_listing_and_reading_is_vanished(tmp_path):
    write(tmp_path, "a.md", "b.md")
    source = open_source(str(tmp_path), settings=SourceSettings())
    a, b = source.list()
    (tmp_path / "a.md").unlink()
    with pytest.raises(SourceError) as caught:
        source.open(a)
    assert caught.value.code == "vanished"
    assert source.open(b).read() == b"b.md"


def test_folder_that_cannot_be_listed_is_one_line_for_all_below_it(tmp_path):
    write(tmp_path, "a.md", "z.md")
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(20):  # past the longest path that the system takes
        os.mkdir("d" * 250, dir_fd=handle)
        deeper = os.open("d" * 250, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    os.close(handle)
    first, failure, last = listing(tmp_path)
    assert [first.uri, last.uri] == [uri_of(tmp_path / "a.md"), uri_of(tmp_path / "z.md")]
    assert isinstance(failure, SourceFailure)
    assert failure.code == "unreadable"
    assert failure.uri.endswith("/")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs /proc")
def test_input_error_while_reading_is_unreadable():
    source = open_source("/proc/self/mem", settings=SourceSettings())
    (found,) = source.list()
    with pytest.raises(SourceError) as caught:
        source.open(found)
    assert caught.value.code == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_refused_permissions_are_unreadable_and_the_rest_goes_on(tmp_path):
    write(tmp_path, "a.md", "closed/b.md", "secret.md")
    (tmp_path / "closed").chmod(0)
    (tmp_path / "secret.md").chmod(0)
    try:
        assert names(tmp_path) == ["a.md", "closed/ !unreadable", "secret.md"]
        source = open_source(str(tmp_path), settings=SourceSettings())
        with pytest.raises(SourceError) as caught:
            source.open(Found(uri_of(tmp_path / "secret.md")))
        assert caught.value.code == "unreadable"
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_file_past_the_limit_is_refused_with_the_setting_that_raises_it(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x" * 5000)
    for limit, fits in ((5000, True), (4999, False)):
        source = open_source(str(tmp_path), settings=SourceSettings(max_file_bytes=limit))
        (found,) = source.list()
        if fits:
            assert source.open(found).size == 5000
            continue
        with pytest.raises(SourceError, match="max_file_bytes") as caught:
            source.open(found)
        assert caught.value.code == "too_large"


def test_endless_file_of_no_declared_size_meets_the_limit(tmp_path):
    smaps = Path("/proc/self/smaps")
    if not smaps.exists():
        pytest.skip("needs /proc")
    source = open_source(str(smaps), settings=SourceSettings(max_file_bytes=2000))
    with pytest.raises(SourceError) as caught:
        source.open(next(source.list()))
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_digest_and_bytes_are_those_of_the_file_at_every_size(tmp_path, size):
    data = os.urandom(size)
    (tmp_path / "a.bin").write_bytes(data)
    source = open_source(str(tmp_path / "a.bin"), settings=SourceSettings())
    content = source.open(next(source.list()))
    assert (content.sha256, content.size) == (hashlib.sha256(data).hexdigest(), size)
    assert content.read() == data
    assert (content.data is None) == (size > 1 << 20)


@pytest.mark.parametrize("change", ["other", "shorter", "longer", "gone"])
def test_bytes_of_a_file_that_changed_since_its_digest_are_never_given_out(tmp_path, change):
    path = tmp_path / "a.bin"
    path.write_bytes(b"a" * (2 << 20))
    source = open_source(str(path), settings=SourceSettings())
    content = source.open(next(source.list()))
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes({"other": b"b" * (2 << 20), "shorter": b"a", "longer": b"a" * (4 << 20)}[change])
    with pytest.raises(SourceError) as caught:
        content.read()
    assert caught.value.code == ("vanished" if change == "gone" else "unreadable")


def test_large_file_is_hashed_in_little_memory(tmp_path):
    with (tmp_path / "big.bin").open("wb") as file:
        file.truncate(300 << 20)
    code = """
import pathlib, re, sys
from ingest.sources import SourceSettings, open_source

def peak():  # in kB, of this program alone: ru_maxrss would begin with what its parent had
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])

source = open_source(sys.argv[1], settings=SourceSettings(max_file_bytes=1 << 30))
before = peak()
assert source.open(next(source.list())).size == 300 << 20
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "big.bin")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 30 << 10  # kilobytes


# --- arguments -----------------------------------------------------------------------------------


def test_source_that_does_not_exist_is_not_found_and_never_empty(tmp_path):
    for argument in (str(tmp_path / "nowhere"), uri_of(tmp_path / "nowhere.md")):
        with pytest.raises(NotFound, match="nowhere"):
            open_source(argument, settings=SourceSettings())


def test_other_schemes_and_empty_arguments_are_usage_errors():
    for argument in ("ftp://a.example/x", "s3://bucket/x", "", "a\0b", "https://", "http://u:p@a.example/"):
        with pytest.raises(UsageError):
            open_source(argument, settings=SourceSettings())


def test_relative_paths_dots_and_file_uris_name_the_same_source(tmp_path, monkeypatch):
    write(tmp_path, "docs/a.md", "docs/sub/b.md")
    monkeypatch.chdir(tmp_path)
    expected = uri_of(tmp_path / "docs") + "/"
    for argument in ("docs", "docs/", "./docs", "docs/sub/..", str(tmp_path / "docs"), expected):
        source = open_source(argument, settings=SourceSettings())
        assert (source.uri, source.whole) == (expected, True)
    file = open_source("docs/a.md", settings=SourceSettings())
    assert (file.uri, file.whole) == (expected + "a.md", False)


def test_dots_behind_a_link_lead_where_the_system_says(tmp_path, monkeypatch):
    write(tmp_path, "real/deep/a.md", "real/b.md", "b.md")
    (tmp_path / "link").symlink_to("real/deep")
    monkeypatch.chdir(tmp_path)
    source = open_source("link/../b.md", settings=SourceSettings())
    assert source.open(next(source.list())).read() == b"real/b.md"


def test_folder_of_our_own_data_is_never_taken_in(tmp_path):
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb" / "catalogue.db").write_text("not a document")
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "link").symlink_to(tmp_path / "kb")
    source = open_source(str(tmp_path), settings=SourceSettings(leave=(tmp_path / "kb",)))
    assert [found.uri.rpartition("/")[2] for found in source.list() if isinstance(found, Found)] == ["a.md"]
