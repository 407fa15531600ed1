"""Filters: as they are typed, as they are sent, and what they keep: SQL against the rules read plainly."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.catalogue import Catalogue
from indexes.schema import MIGRATIONS, migrate
from indexes.where import passing
from rag.errors import InvalidFilter, UsageError
from rag.filters import (
    EVERYTHING,
    And,
    Compare,
    Exists,
    Filter,
    In,
    Not,
    Or,
    as_json,
    both,
    of,
    parse,
    passes,
)
from rag.protocols import PutDocument, RemoveDocument, Space
from rag.testing import HashEmbedder
from rag.types import Chunk, Document, Metadata, text_hash

EMBEDDER = HashEmbedder(dim=16)
NAMES = ("n", "text", "tags", "on", "a key", "missing")
VALUES = (
    *(0, 1, 2, 10, 9, -1, 2020, 2020.0, 2020.5, 0.1, 1e-7, 1e21, 10**20, 10**20 + 1, True, False),
    *(
        "",
        "0",
        "1",
        "007",
        "1.10",
        "1.1",
        "2020",
        "2020.0",
        "-0",
        "-1",
        "1e5",
        "true",
        "x",
        "y",
        "é",
        "日本",
        "%",
        "'",
    ),
    *("2024-01-01", "2024-05-03", "2025", "a b", "a=b", "NaN", "inf", "'; DROP TABLE documents; --"),
)


# --- the rules, read plainly ---------------------------------------------------------------------


def written(value) -> str:
    if isinstance(value, bool):
        return {True: "true", False: "false"}[value]
    if isinstance(value, float) and value == int(value) and abs(value) < 1e16:
        return f"{value:.0f}"
    return str(value)


def as_number(text: str) -> float | None:
    """A text is a number when Python, told to write that number, writes the text."""
    try:
        value = float(text)
    except ValueError:
        return None
    if text.lstrip("-").isdecimal() and text.isascii():
        return value if str(int(text)) == text else None
    return value if json.dumps(value) == text and not text.endswith(".0") and value - value == 0 else None


def meets(own: str, sign: str, asked: str) -> bool:
    numbers = as_number(own), as_number(asked)
    a, b = numbers if None not in numbers else (own, asked)
    return {"<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}[sign]


def keeps(where: Filter, metadata: Metadata) -> bool:
    def own(name: str) -> list[str]:
        value = metadata.get(name, ())
        return [written(one) for one in (value if isinstance(value, tuple) else (value,))]

    match where:
        case In():
            return bool(set(own(where.name)) & set(where.values))
        case Compare():
            return any(meets(value, where.sign, where.value) for value in own(where.name))
        case Exists():
            return own(where.name) != []
        case And():
            return False not in [keeps(part, metadata) for part in where.parts]
        case Or():
            return True in [keeps(part, metadata) for part in where.parts]
        case Not():
            return not keeps(where.part, metadata)


# --- a collection to ask -------------------------------------------------------------------------


def some_metadata(count: int) -> list[Metadata]:
    chosen = random.Random(3)
    made: list[Metadata] = []
    for _ in range(count):
        one = {}
        for name in NAMES[:-1]:
            if chosen.random() < 0.6:
                value = chosen.choice(VALUES)
                one[name] = value
                if name == "tags":
                    one[name] = tuple(str(chosen.choice(VALUES)) for _ in range(chosen.randrange(4)))
        made.append(one)
    return made


def put(writer, *documents: Document) -> None:
    changes, texts = [], []
    for document in documents:
        cuts, start = [], 0
        for line in document.text.split("\n"):
            cuts.append(Chunk(document.id, line, start, start + len(line)))
            start += len(line) + 1
        texts += [chunk.embedded_text for chunk in cuts]
        changes.append(PutDocument(f"file:{document.id}", document, cuts))
    vectors = EMBEDDER.embed(texts, input_type="document")
    writer.commit(changes, hashes=[text_hash(text) for text in texts], vectors=vectors)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """200 documents of one to three chunks, some removed again, and another collection beside them."""
    known = {f"d{number}": about for number, about in enumerate(some_metadata(200))}
    with Catalogue.open(tmp_path_factory.mktemp("data"), create=True) as catalogue:
        with catalogue.writer("other", Space("lines", EMBEDDER.info)) as writer:
            put(writer, *(Document(id, "other", metadata=about) for id, about in list(known.items())[:50]))
        with catalogue.writer("c", Space("lines", EMBEDDER.info)) as writer:
            for number, (id, about) in enumerate(known.items()):
                lines = [f"line {number} {line}" for line in range(1 + number % 3)]
                put(writer, Document(id, "\n".join(lines), metadata=about))
            gone = [f"d{number}" for number in range(0, 200, 9)]
            none = np.empty((0, 16), np.float32)
            writer.commit([RemoveDocument(id) for id in gone], hashes=[], vectors=none)
        for id in gone:
            del known[id]
        yield catalogue, known


values = st.sampled_from([written(value) for value in VALUES])
names = st.sampled_from(NAMES)
leaves = st.one_of(
    st.builds(In, names, st.lists(values, min_size=0, max_size=3, unique=True).map(tuple)),
    st.builds(Compare, names, st.sampled_from(["<", "<=", ">", ">="]), values),
    st.builds(Exists, names),
)
trees = st.recursive(
    leaves,
    lambda parts: st.one_of(
        st.builds(Not, parts),
        st.builds(And, st.lists(parts, min_size=2, max_size=3).map(tuple)),
        st.builds(Or, st.lists(parts, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=8,
)


@given(where=trees)
def test_sql_keeps_the_documents_that_the_rules_keep(shelf, where):
    catalogue, known = shelf
    expected = {id for id, metadata in known.items() if keeps(where, metadata)}
    assert {id for id, metadata in known.items() if passes(where, metadata)} == expected
    with catalogue.store.reading() as db:
        (space,) = db.execute("SELECT space_id FROM collections WHERE name = 'c'").fetchone()
        keys = passing(db, space, where)
    wanted = [chunk.key for id in expected for chunk in catalogue.chunks("c", id)]
    assert keys.tolist() == sorted(wanted)


@given(where=trees)
def test_a_filter_is_itself_again_after_its_way_through_json(where):
    again = of(json.loads(json.dumps(as_json(where))))
    assert of(json.loads(json.dumps(as_json(again)))) == again
    for metadata in some_metadata(20):
        assert passes(again, metadata) == passes(where, metadata)


def test_the_sample_is_not_vacuous(shelf):
    """What the properties above compare: both kinds of documents, numbers and texts, under each sign."""
    _, known = shelf
    for where in (
        Compare("n", ">", "5"),
        Compare("on", "<", "2024-05"),
        In("tags", ("x",)),
        Not(Exists("n")),
    ):
        kept = sum(keeps(where, metadata) for metadata in known.values())
        assert 0 < kept < len(known)


# --- what it means -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "metadata"),
    [
        ("year=2026", {"year": 2026}),
        ("year=2026", {"year": 2026.0}),
        ("year=2026", {"year": "2026"}),
        ("draft=true", {"draft": True}),
        ("draft!=true", {"draft": False}),
        ("tags=b", {"tags": ("a", "b")}),
        ("tags in (x, b)", {"tags": ("a", "b")}),
        ("year>=999", {"year": 2026}),
        ("year>=999", {"year": "2026"}),
        ("date>=2024-01-01 and date<2025", {"date": "2024-12-31"}),
        ("not year=2026", {}),
        ("year!=2026", {"tags": ("a",)}),
        ("tags not in (a, b)", {"tags": ("c",)}),
        ("not tags exists", {"tags": ()}),
        ("code=007", {"code": "007"}),
    ],
)
def test_a_filter_keeps(typed, metadata):
    assert passes(parse(typed), metadata)


@pytest.mark.parametrize(
    ("typed", "metadata"),
    [
        ("year=2026", {}),
        ("year<3000", {}),
        ("not year exists", {"year": 0}),
        ("code=7", {"code": "007"}),
        ("version=1.1", {"version": "1.10"}),
        ("Language=es", {"language": "es"}),
        ("language=ES", {"language": "es"}),
        ("tags!=a", {"tags": ("a", "b")}),
        ("tags not in (a, c)", {"tags": ("a", "b")}),
        ("year<999", {"year": 2026}),
        ("year>2019 and year<2021 and year!=2020", {"year": 2020}),
    ],
)
def test_a_filter_leaves_out(typed, metadata):
    assert not passes(parse(typed), metadata)


# --- as it is typed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "mapping"),
    [
        ("language=es", {"language": "es"}),
        ("a=b=c", {"a": "b=c"}),
        (" a  ==  b ", {"a": "b"}),
        ("author=Taller central, turno de mañana", {"author": "Taller central, turno de mañana"}),
        ("note=it's ok and b=1", {"note": "it's ok", "b": "1"}),
        ('a=""', {"a": ""}),
        ("state=OR or state=NOT", {"$or": [{"state": "OR"}, {"state": "NOT"}]}),
        ("\"a key\" = 'and \"or\" (not) \\'=\\''", {"a key": "and \"or\" (not) '='"}),
        ("year>=2020", {"year": {"$gte": 2020}}),
        ("year > 1 and year<= 3", {"year": {"$gt": 1, "$lte": 3}}),
        ('tag in (a, "b, c",d e)', {"tag": {"$in": ["a", "b, c", "d e"]}}),
        ("tag NOT IN (a)", {"tag": {"$nin": ["a"]}}),
        ("tag exists AND tag != x", {"tag": {"$exists": True, "$ne": "x"}}),
        ("not tag exists", {"tag": {"$exists": False}}),
        ("a=1 or b=2 and c=3", {"$or": [{"a": 1}, {"b": 2, "c": 3}]}),
        ("(a=1 or b=2) and c=3", {"$and": [{"$or": [{"a": 1}, {"b": 2}]}, {"c": 3}]}),
        ("not (a=1 or b=2)", {"$not": {"$or": [{"a": 1}, {"b": 2}]}}),
        ("not not a=1", {"$not": {"$not": {"a": 1}}}),
        ("not=1 and or=2 and in=3", {"not": 1, "or": 2, "in": 3}),
        ("((a=1))", {"a": "1"}),
    ],
)
def test_a_filter_is_typed_and_sent_in_two_spellings(typed, mapping):
    assert parse(typed) == of(mapping)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", "expected a condition, as language=es at its end"),
        ("language", "expected =, !=, <, <=, >, >=, in (…), not in (…) or exists at its end"),
        ("language es", "exists at character 10, not 'es'"),
        ("a=", "expected a value"),
        ("=a", "at character 1, not '=a'"),
        (
            "a=1 b=2",
            "expected and, or, or its end (a value with brackets or signs in it stands in quotes) "
            "at character 5, not 'b=2'",
        ),
        ("title=Dune (film)", "stands in quotes) at character 12, not '(film)'"),
        ('a="1" 2', "at character 7, not '2'"),
        ("a='1", "expected a closing quote behind this one at character 3"),
        ("(a=1", "expected and, or, or a closing bracket at its end"),
        ("a=1)", "at character 4, not ')'"),
        ("a in (1", "expected a comma or a closing bracket at its end"),
        ("a in ()", "expected a value at character 7"),
        ("a in 1", "at character 3, not 'in 1'"),
        ("a=1 and", "expected a condition, as language=es at its end"),
        ("$and=1", "begins with no $"),
        ("not " * 500 + "a=1", "nested more than 20 deep"),
        ("(" * 500 + "a=1", "nested more than 20 deep"),
        (" and ".join(["a=1"] * 101), "101 conditions; at most 100"),
        (f"a in ({','.join(map(str, range(1001)))})", "1,001 values; at most 1,000"),
        ("a=" + "x" * 10_001, "more than 10,000 characters"),
    ],
)
def test_a_filter_that_cannot_be_read_says_where_and_what_was_expected(typed, said):
    with pytest.raises(InvalidFilter) as error:
        parse(typed)
    assert said in str(error.value)
    assert len(str(error.value)) < 500
    assert "\n" not in str(error.value)


@given(st.text(alphabet="ab =!<>()\"'\\,notrdei\n", max_size=40))
def test_any_text_is_a_filter_or_is_refused(typed):
    try:
        made = parse(typed)
    except UsageError:
        return
    assert as_json(of(as_json(made))) == as_json(made)


@pytest.mark.parametrize(
    ("mapping", "said"),
    [
        ({"a": None}, "where.a: None"),
        ({"a": [1, 2]}, "$in takes several"),
        ({"a": {}}, "where.a: an object without an operator"),
        ({"a": {"$regex": "x"}}, "where.a.$regex: there is $eq"),
        ({"a": {"$in": "x"}}, "where.a.$in: 'x' is no list"),
        ({"a": {"$in": ["x", None]}}, "where.a.$in[1]: None"),
        ({"a": {"$gt": True}}, "true and false have no order"),
        ({"a": {"$exists": 1}}, "write true or false"),
        ({"$and": []}, "where.$and: [] is no list of filters"),
        ({"$or": [{"a": 1}, 2]}, "where.$or[1]: 2 is no filter"),
        ({"$not": [{"a": 1}]}, "where.$not"),
        ({"$eq": 1}, "stand below a key"),
        ({"": 1}, "a key is a text"),
        ({1: 1}, "the key 1 is no text"),
        ({"a": "x" * 10_001}, "more than 10,000 characters"),
    ],
)
def test_a_mapping_that_is_no_filter_says_where(mapping, said):
    with pytest.raises(InvalidFilter) as error:
        of(mapping)
    assert said in str(error.value)
    assert len(str(error.value)) < 300


def test_a_mapping_nested_without_end_is_refused():
    mapping: dict = {"a": 1}
    for _ in range(200):
        mapping = {"$not": mapping}
    with pytest.raises(InvalidFilter, match="nested more than 20 deep"):
        of(mapping)


def test_several_filters_must_all_hold():
    assert both([]) == EVERYTHING == of({})
    assert both([parse("a=1"), parse("b=1 or c=1")]) == parse("a=1 and (b=1 or c=1)")


# --- search --------------------------------------------------------------------------------------


def test_a_filter_that_few_pass_still_gives_k_exact_hits(tmp_path: Path):
    words = ("agua", "pan", "sal", "red", "green", "boat", "north", "train")
    chosen = random.Random(5)
    documents = [
        Document(
            f"d{n}", "\n".join(" ".join(chosen.choices(words, k=5)) for _ in range(4)), metadata={"n": n}
        )
        for n in range(1000)
    ]
    with Catalogue.open(tmp_path, create=True) as catalogue:
        with catalogue.writer("c", Space("lines", EMBEDDER.info)) as writer:
            put(writer, *documents[:900])
            writer.publish()
            put(writer, *documents[900:])
        collection = catalogue.collection("c")
        question = EMBEDDER.embed(["agua red boat"], input_type="query")[0]
        ranked = [hit.chunk for hit in collection.nearest(question, k=4000, where={})]
        assert len(ranked) == 4000
        for where, k in (({"n": {"$gte": 895, "$lt": 905}}, 10), ({"n": 899}, 4), ({"n": {"$gt": 990}}, 36)):
            hits = collection.nearest(question, k=k, where=where)
            passed = [chunk.key for chunk in ranked if passes(of(where), chunk.metadata)]
            assert [hit.chunk.key for hit in hits] == passed[:k]
            assert len(hits) == k
        shared = collection.matching("agua", k=1000, where={"n": {"$in": [5, 950]}})
        assert {hit.chunk.document_id for hit in shared} == {
            d.id for d in (documents[5], documents[950]) if "agua" in d.text
        }


def test_a_filter_is_judged_alike_after_documents_were_replaced_and_moved(tmp_path: Path):
    with Catalogue.open(tmp_path, create=True) as catalogue:
        with catalogue.writer("c", Space("lines", EMBEDDER.info)) as writer:
            put(
                writer,
                Document("a", "one\ntwo", metadata={"n": 1}),
                Document("b", "three", metadata={"n": 2}),
            )
            put(writer, Document("a", "one\ntwo\nfour", metadata={"n": 2}))
        collection = catalogue.collection("c")
        question = EMBEDDER.embed(["one"], input_type="query")[0]
        assert collection.nearest(question, k=9, where={"n": 1}) == []
        found = {hit.chunk.text for hit in collection.nearest(question, k=9, where={"n": 2})}
        assert found == {"one", "two", "three", "four"}
        assert collection.metadata_names() == ["n"]


def test_a_catalogue_of_before_is_filtered_as_a_new_one(tmp_path: Path):
    metadata = {"n": 2020.0, "t": ("a", "10"), "x": "1.10", "on": True}
    db = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    migrate(db, MIGRATIONS[:2])
    db.execute("INSERT INTO embedders VALUES(1, 'f', 'e', 2, 8)")
    db.execute("INSERT INTO collections VALUES(1, 'c', NULL, '')")
    db.execute("INSERT INTO spaces VALUES(1, 1, 'whole', 1, '')")
    db.execute("INSERT INTO vectors VALUES(1, 1, x'00', x'00')")
    for key in (1, 2, 3):
        db.execute(
            "INSERT INTO documents VALUES(?, 1, ?, '', '', 2, '', '', ?, '[]', '', 'ab', '')",
            (key, f"d{key}", json.dumps(metadata if key == 2 else {"n": "2020.0"})),
        )
        db.execute("INSERT INTO cuts VALUES(?, 1, ?)", (key, 0 if key == 3 else 2))
        for ordinal in range(0 if key == 3 else 2):
            db.execute(
                'INSERT INTO chunks(document_key, space_id, ordinal, start, "end", vector_id, page, heading, '
                "breadcrumb, text) VALUES(?, 1, ?, ?, ?, 1, '', '[]', '', 'a')",
                (key, ordinal, ordinal, ordinal + 1),
            )
    db.execute("INSERT INTO document_metadata VALUES(2, 'n', '2020.0')")
    migrate(db)
    try:
        rows = db.execute(
            "SELECT name, value, number FROM document_metadata WHERE document_key = 2"
        ).fetchall()
        assert sorted(rows) == [
            *(("n", "2020", 2020.0), ("on", "true", None)),
            *(("t", "10", 10.0), ("t", "a", None), ("x", "1.10", None)),
        ]
        assert passing(db, 1, of({"n": 2020})).tolist() == [3, 4]
        assert passing(db, 1, EVERYTHING).tolist() == [1, 2, 3, 4]
        assert passing(db, 1, Not(of({"n": 2020}))).tolist() == [1, 2]
    finally:
        db.close()
