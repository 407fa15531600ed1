"""promptwell as a retriever of LangChain and of LlamaIndex, against the real packages."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from llama_index.core.llms import MockLLM
from llama_index.core.postprocessor import SimilarityPostprocessor
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.schema import MetadataMode, QueryBundle

from api.adapters.langchain import PromptwellRetriever as LangChainRetriever
from api.adapters.llamaindex import PromptwellRetriever as LlamaIndexRetriever
from indexes.catalogue import Catalogue
from ingest.chunk import Chunker
from ingest.decide import texts_source
from ingest.job import run
from rag.errors import InvalidQuery, UnknownCollection
from rag.protocols import Space
from rag.retrieve import RetrievalSettings, Retriever
from rag.testing import HashEmbedder
from rag.types import Document, Hit

ROOT = Path(__file__).resolve().parent.parent
QUESTION = "How long does the green tea draw?"
TEXTS = [
    Document(
        "tea",
        "# Drawing\n\nLet the green tea draw for two minutes.",
        title="Tea",
        uri="file:///tea.md",
        metadata={"language": "en", "tags": ("drinks", "hot"), "score": "a column of the same name"},
    ),
    Document("bread", "Knead the dough for ten minutes.", title="Bread", metadata={"language": "en"}),
    Document("té", "Deja reposar el té verde dos minutos.", title="Té", metadata={"language": "es"}),
]


class Shelf:
    """A catalogue on disk, searched with a small embedder; remembers the threads that searched."""

    def __init__(self, folder: Path) -> None:
        self.embedder = HashEmbedder(dim=256)
        self.catalogue = Catalogue.open(folder, create=True)
        self.threads: list[int] = []
        for name, documents in (("default", TEXTS), ("spanish", TEXTS[2:])):
            chunker = Chunker(self.embedder.tokenizer, max_tokens=self.embedder.info.max_tokens)
            space = Space(chunker.fingerprint, self.embedder.info)
            with self.catalogue.writer(name, space) as writer:
                source = texts_source(documents)
                run([source], writer, space=space, chunker=chunker, embedder=self.embedder)

    def search(self, question, *, collection, k, where, mode) -> list[Hit]:
        self.threads.append(threading.get_ident())
        settings = RetrievalSettings() if mode is None else replace(RetrievalSettings(), mode=mode)
        found = self.catalogue.collection(collection or "default", embedder=self.embedder.info)
        return Retriever(self.embedder, settings=settings).search(found, question, k=k, where=where)


@pytest.fixture(scope="module")
def opened(tmp_path_factory) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    yield shelf
    shelf.catalogue.close()


@pytest.fixture
def shelf(opened) -> Shelf:
    opened.threads.clear()
    return opened


def ids(found: object) -> list[str]:
    """The documents of LangChain's documents or of LlamaIndex's nodes, in order."""
    return [each.metadata["document"] for each in found]


def asked(kind: str, shelf: Shelf, question: str, **options: object) -> list[str]:
    if kind == "langchain":
        return ids(LangChainRetriever(services=shelf, **options).invoke(question))
    return ids(LlamaIndexRetriever(shelf, **options).retrieve(question))


def test_a_langchain_document_tells_everything_of_a_hit(shelf):
    (found,) = LangChainRetriever(services=shelf, k=1).invoke(QUESTION)
    (hit,) = shelf.search(QUESTION, collection=None, k=1, where={}, mode=None)
    assert found.page_content == hit.chunk.text
    assert found.id == str(hit.chunk.key)
    assert found.metadata == {
        "language": "en",
        "tags": ["drinks", "hot"],
        "collection": "default",
        "document": "tea",
        "uri": "file:///tea.md",
        "title": "Tea",
        "heading": ["Drawing"],
        "page": "",
        "start": hit.chunk.start,
        "end": hit.chunk.end,
        "score": hit.score,
        "key": hit.chunk.key,
    }
    assert TEXTS[0].text[found.metadata["start"] : found.metadata["end"]] == found.page_content
    assert json.loads(found.model_dump_json())["metadata"] == found.metadata


def test_a_llamaindex_node_tells_everything_of_a_hit(shelf):
    (found,) = LlamaIndexRetriever(shelf, k=1).retrieve(QUESTION)
    (hit,) = shelf.search(QUESTION, collection=None, k=1, where={}, mode=None)
    (document,) = LangChainRetriever(services=shelf, k=1).invoke(QUESTION)
    assert (found.score, found.text) == (hit.score, hit.chunk.text)
    assert (found.node.node_id, found.node.ref_doc_id) == (str(hit.chunk.key), "tea")
    assert found.metadata == document.metadata
    assert TEXTS[0].text[found.node.start_char_idx : found.node.end_char_idx] == found.text


def test_a_model_reads_title_and_own_metadata_of_a_node_and_no_bookkeeping(shelf):
    (found,) = LlamaIndexRetriever(shelf, k=1).retrieve(QUESTION)
    for reader in (MetadataMode.LLM, MetadataMode.EMBED):
        read = found.node.get_content(metadata_mode=reader)
        assert "title: Tea" in read
        assert "language: en" in read
        assert not re.search(r"^(document|uri|start|end|score|key):", read, re.MULTILINE)


@pytest.mark.parametrize("kind", ["langchain", "llamaindex"])
def test_the_options_reach_the_search(kind, shelf):
    assert asked(kind, shelf, QUESTION)[0] == "tea"
    assert len(asked(kind, shelf, QUESTION)) == 3
    assert len(asked(kind, shelf, QUESTION, k=2)) == 2
    assert asked(kind, shelf, QUESTION, where={"language": "es"}) == ["té"]
    assert asked(kind, shelf, QUESTION, collection="spanish") == ["té"]
    assert asked(kind, shelf, "knead", mode="lexical") == ["bread"]


@pytest.mark.parametrize("kind", ["langchain", "llamaindex"])
def test_errors_arrive_as_they_are(kind, shelf):
    with pytest.raises(UnknownCollection, match="nope"):
        asked(kind, shelf, QUESTION, collection="nope")
    with pytest.raises(InvalidQuery, match="empty"):
        asked(kind, shelf, " ")


def test_asynchronous_searches_run_off_the_event_loop(shelf):
    async def both() -> tuple[list[str], list[str]]:
        documents = await LangChainRetriever(services=shelf, k=1).ainvoke(QUESTION)
        nodes = await LlamaIndexRetriever(shelf, k=1).aretrieve(QUESTION)
        return ids(documents), ids(nodes)

    assert asyncio.run(both()) == (["tea"], ["tea"])
    assert len(shelf.threads) == 2
    assert threading.get_ident() not in shelf.threads


def test_a_batch_answers_each_question_in_its_place(shelf):
    found = LangChainRetriever(services=shelf, k=1).batch([QUESTION, "Knead the dough"])
    assert [ids(each) for each in found] == [["tea"], ["bread"]]


def test_a_langchain_chain_reads_the_passages(shelf):
    joined = RunnableLambda(lambda documents: "\n".join(each.page_content for each in documents))
    echo = RunnableLambda(lambda prompt: prompt.messages[-1])
    prompt = ChatPromptTemplate.from_template("{passages}\nQ: {question}")
    retriever = LangChainRetriever(services=shelf, k=1)
    chain = (
        {"passages": retriever | joined, "question": RunnablePassthrough()}
        | prompt
        | echo
        | StrOutputParser()
    )
    passage = retriever.invoke(QUESTION)[0].page_content
    assert "draw for two minutes" in passage
    assert chain.invoke(QUESTION) == f"{passage}\nQ: {QUESTION}"


def test_a_llamaindex_query_engine_reads_the_passages(shelf):
    nodes = LlamaIndexRetriever(shelf).retrieve(QUESTION)
    cutoff = (nodes[0].score + nodes[1].score) / 2
    engine = RetrieverQueryEngine.from_args(
        LlamaIndexRetriever(shelf),
        llm=MockLLM(),  # answers with what it was asked
        node_postprocessors=[SimilarityPostprocessor(similarity_cutoff=cutoff)],
    )
    response = engine.query(QueryBundle(QUESTION))
    assert ids(response.source_nodes) == ["tea"]
    assert "Let the green tea draw for two minutes." in str(response)
    assert "dough" not in str(response)


def test_without_llamaindex_the_extra_is_named():
    code = "import sys; sys.modules['llama_index'] = None; import api.adapters.llamaindex"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert "pip install 'promptwell[llamaindex]'" in done.stderr


@pytest.mark.model
@pytest.mark.slow
def test_the_examples_in_the_docs_print_what_stands_below_them(tmp_path):
    page = (ROOT / "docs" / "python.md").read_text("utf-8")
    examples = re.findall(r"```python\n(.+?)```\n\n```\n(.+?)```", page, re.DOTALL)
    adapters = [(code, printed) for code, printed in examples if "api.adapters" in code]
    assert len(adapters) == 2
    (tmp_path / "knowledge").symlink_to(ROOT / "examples" / "knowledge")
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAG_")}
    env |= {"PYTHONPATH": str(ROOT), "RAG_EMBEDDER__PRECISION": "float32"}
    env["RAG_EMBEDDER__MODEL"] = "all-MiniLM-L6-v2"  # the quickest; the default prints the same
    for code, printed in adapters:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=env
        )
        assert done.stdout == printed, done.stderr
