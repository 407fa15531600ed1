"""Every setting: its name, type, default and what it means. ``rag init`` writes this out as rag.toml."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from indexes.settings import DEFAULTS as INDEX
from indexes.settings import ChromaSettings, IndexSettings, Kind
from ingest.fetch import FetchSettings
from ingest.parse.options import DEFAULTS as PARSE
from ingest.parse.options import ParseOptions
from ingest.sources import SourceSettings
from rag.answer import DEFAULT_BUDGET
from rag.embed import BUNDLED, DEFAULT_MODEL
from rag.errors import InvalidSetting
from rag.redact import Redactor
from rag.retrieve import MAX_K, Mode, RetrievalSettings

RETRIEVAL = RetrievalSettings()
SOURCES = SourceSettings()

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Fields = tuple[str, ...]

Collections: TypeAlias = str | Sequence[str] | None
"""The name of a collection, or those of several that are searched as one; None: that of the settings."""


class Section(BaseModel):
    """Frozen; a name that is not here is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EmbedderSection(Section):
    """What turns texts into vectors. Another model, prefix or precision: embedding anew."""

    model: str = Field(
        default=DEFAULT_MODEL,
        min_length=1,
        description="; ".join(f"{name}: {bundled.good_for}" for name, bundled in BUNDLED.items())
        + ". Or any sentence-transformers model: hub name or local folder.",
    )
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        default="auto", description="auto takes the fastest that this machine computes exactly enough."
    )
    query_prefix: str = Field(
        default="", description="Put before every question; empty: the model's own, if it has one."
    )
    document_prefix: str = Field(default="", description="The same before every passage.")
    tokens: bool = Field(
        default=True,
        description="Keep what the model makes of each token too, some 100 bytes a token, where it can:"
        " passages are then ranked by them. Another choice: embedding anew.",
    )


class ChunkerSection(Section):
    """How documents are cut. Another cut means chunking anew: rag plan tells what that costs."""

    target_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens that a chunk aims at, within the embedder's limit; 0: the chunker's choice.",
    )
    overlap_tokens: int = Field(default=0, ge=0, description="Tokens of a chunk that the next one repeats.")


class IngestSection(Section):
    """What is taken in, and the limits that a hostile file or server meets."""

    include: Fields = Field(
        default=SOURCES.include, description='Globs of files to take, such as ["*.md"]; none: all.'
    )
    exclude: Fields = Field(
        default=SOURCES.exclude, description='Globs of files and folders to leave, such as ["drafts"].'
    )
    links_outside: bool = Field(
        default=SOURCES.links_outside,
        description="Follow symbolic links that lead out of the folder being ingested.",
    )
    max_file_bytes: Count = Field(
        default=SOURCES.max_file_bytes, description="Larger files are reported, not read."
    )
    parser_timeout_s: Seconds = Field(
        default=60.0, description="Seconds after which a file's parser is stopped."
    )
    parser_memory_mb: int = Field(default=1024, ge=256, description="Megabytes that a file's parser may use.")
    allow_private_urls: bool = Field(
        default=SOURCES.fetch.allow_private,
        description="Fetch URLs of private, loopback and link-local addresses too.",
    )
    url_max_bytes: Count = Field(
        default=SOURCES.fetch.max_bytes, description="Bytes that one URL may send, unpacked."
    )
    url_timeout_s: Seconds = Field(
        default=SOURCES.fetch.timeout_s, description="Seconds that one URL may take, redirects included."
    )
    csv_documents: Literal["table", "row"] = Field(
        default=PARSE.csv_documents,
        description="A CSV file is one document (table), or one for each row (row).",
    )
    id_fields: Fields = Field(
        default=PARSE.id_fields, description="JSONL and CSV rows: the first of these there is the id."
    )
    title_fields: Fields = Field(
        default=PARSE.title_fields, description="JSONL and CSV rows: the same for the title."
    )
    text_fields: Fields = Field(
        default=PARSE.text_fields, description="JSONL and CSV rows: the same for the text."
    )
    metadata_fields: Fields = Field(
        default=PARSE.metadata_fields,
        description="JSONL and CSV rows: fields kept as metadata; none: all others.",
    )

    def source_settings(self) -> SourceSettings:
        """The part that is about finding and fetching."""
        limits = FetchSettings(
            max_bytes=self.url_max_bytes, timeout_s=self.url_timeout_s, allow_private=self.allow_private_urls
        )
        return SourceSettings(
            max_file_bytes=self.max_file_bytes,
            include=self.include,
            exclude=self.exclude,
            links_outside=self.links_outside,
            fetch=limits,
        )

    def parse_options(self) -> ParseOptions:
        """The part that is about reading what was found."""
        return ParseOptions(
            max_file_bytes=self.max_file_bytes,
            csv_documents=self.csv_documents,
            id_fields=self.id_fields,
            title_fields=self.title_fields,
            text_fields=self.text_fields,
            metadata_fields=self.metadata_fields,
        )


class ChromaSection(Section):
    """The Chroma server that backend = "chroma" uses; its token comes from RAG_CHROMA_TOKEN alone."""

    url: str = Field(
        default=INDEX.chroma.url,
        description="Address of the server (chroma run), such as http://localhost:8000; empty: Chroma inside"
        " the data folder, without a server.",
    )
    tenant: str = Field(default=INDEX.chroma.tenant, min_length=1, description="Its tenant; made if missing.")
    database: str = Field(
        default=INDEX.chroma.database, min_length=1, description="The tenant's database; made if missing."
    )
    timeout_s: Seconds = Field(
        default=INDEX.chroma.timeout_s,
        description="Seconds that a search waits for it before every chunk is looked at without it.",
    )


class IndexSection(Section):
    """The vector index that is derived from the catalogue; it can be rebuilt at any time."""

    backend: Literal["auto", "faiss", "chroma"] = Field(
        default="auto", description="What builds it: faiss, or chroma; auto is faiss."
    )
    kind: Literal["auto", "flat", "sq8", "hnsw", "rabitq"] = Field(
        default="auto",
        description="Of faiss. flat, sq8: exact; hnsw, rabitq: close, fast when large; auto: sq8 while that"
        " is fast enough for latency_ms, then rabitq.",
    )
    latency_ms: Annotated[float, Field(gt=0)] = Field(
        default=INDEX.latency_ms,
        description="Milliseconds of one core that auto lets an exact search take.",
    )
    effort: Annotated[float, Field(gt=0, le=100)] = Field(
        default=INDEX.effort,
        description="How hard a close kind looks: 2 looks at twice as many chunks as 1. rag index audit"
        " measures what it gives.",
    )
    chroma: ChromaSection = ChromaSection()

    def index_settings(self, *, token: str = "") -> IndexSettings:
        """The same as the catalogue takes it. Raises InvalidSetting for a kind that is not the backend's."""
        kind: Kind = self.kind
        if self.backend == "chroma":
            if kind != "auto":
                raise InvalidSetting(
                    f'[index] kind = "{kind}" is one of faiss, and backend = "chroma": leave one of them out'
                )
            kind = "chroma-server" if self.chroma.url else "chroma"
        chroma = ChromaSettings(**self.chroma.model_dump(), token=token)
        return IndexSettings(kind=kind, latency_ms=self.latency_ms, effort=self.effort, chroma=chroma)


class RetrievalSection(Section):
    """How a question becomes passages."""

    mode: Mode = Field(default=RETRIEVAL.mode, description="hybrid, vector or lexical.")
    k: int = Field(default=RETRIEVAL.k, ge=1, le=MAX_K, description="Passages that a search returns.")
    vector_pool: int = Field(
        default=RETRIEVAL.vector_pool,
        ge=1,
        le=MAX_K,
        description="Candidates that the vectors offer to the fusion.",
    )
    lexical_pool: int = Field(
        default=RETRIEVAL.lexical_pool,
        ge=1,
        le=MAX_K,
        description="Candidates that the words offer to the fusion.",
    )
    vector_weight: Share = Field(
        default=RETRIEVAL.vector_weight, description="Share of the vectors in the fusion, 0 to 1."
    )
    token_pool: int = Field(
        default=RETRIEVAL.token_pool,
        ge=0,
        le=MAX_K,
        description="Best candidates that are compared with the question token by token, where token vectors"
        " are kept; 0: none.",
    )
    neighbours: Share = Field(
        default=RETRIEVAL.neighbours,
        description="Share of a passage's evidence that is that of the passages beside it, 0 to 1.",
    )
    links: int = Field(
        default=RETRIEVAL.links,
        ge=0,
        le=10,
        description="Best documents whose passages' names are followed to other documents; 0: none.",
    )
    rewrite: Literal["none", "queries", "hyde"] = Field(
        default="none",
        description="What the LLM writes to search with besides the question: queries, other wordings and"
        " sub-questions; hyde, a passage that might answer it; none.",
    )
    reranker: str = Field(
        default="",
        description='What reads the best hits once more: "late" (the embedder\'s own token vectors), or a'
        " cross-encoder by hub name or local folder; empty: nothing.",
    )
    rerank_pool: int = Field(
        default=RETRIEVAL.rerank_pool, ge=1, le=MAX_K, description="Hits that the reranker reads."
    )
    rerank_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        default=RETRIEVAL.rerank_seconds,
        description="Seconds that it may take; what it has not read keeps its place.",
    )
    per_document: int = Field(
        default=RETRIEVAL.per_document, ge=0, le=MAX_K, description="Most hits of one document; 0: no limit."
    )
    diversity: Share = Field(
        default=RETRIEVAL.diversity,
        description="How much a hit loses for being like a better one, 0 to 1 (MMR).",
    )
    min_score: float = Field(
        default=RETRIEVAL.min_score, allow_inf_nan=False, description="The least score of a hit; 0: any."
    )

    def retrieval_settings(self) -> RetrievalSettings:
        """The same as the retriever takes it."""
        return RetrievalSettings(**self.model_dump())


class ContextSection(Section):
    """What of the passages the prompt gets."""

    max_tokens: Count = Field(
        default=DEFAULT_BUDGET, description="Tokens that the passages may take in the prompt."
    )


class AnswerSection(Section):
    """When the answer is "not found", in collections that rag calibrate has measured."""

    answered: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.95,
        description="Share of the answerable questions to answer: less lets fewer false answers through;"
        " 1.0 refuses nothing.",
    )
    ask_anyway: bool = Field(
        default=False, description="Ask the language model even where the confidence is too low."
    )


class PromptsSection(Section):
    """The prompt templates, besides those that are shipped."""

    dir: Path = Field(default=Path("prompts"), description="Folder of your own templates; it need not exist.")
    default: str = Field(
        default="answer", min_length=1, description="The prompt that rag ask takes without --prompt."
    )
    author: str = Field(
        default="", description="Who pushes, moves labels and reviews; empty: the name of the system's user."
    )
    self_approval: bool = Field(
        default=False, description="Let who pushed a version approve it for a protected label."
    )


class LlmSection(Section):
    """The language model that answers. Its key never stands here but in the environment: RAG_LLM_API_KEY."""

    model: str = Field(
        default="", description='As LangChain names it, "openai:gpt-5-mini"; empty: extractive answers.'
    )
    base_url: str = Field(
        default="", description="Address of an OpenAI-compatible server; empty: the provider's."
    )
    temperature: Annotated[float, Field(ge=0, le=2)] = Field(
        default=0.0, description="0 for the likeliest answer."
    )
    max_tokens: Count = Field(default=1024, description="Tokens of the longest answer.")
    tokenizer: str = Field(
        default="",
        description='What counts its tokens: "tiktoken:o200k_base" or the like, or the path of its'
        " tokenizer.json; empty: an estimate on the safe side.",
    )
    timeout_s: Seconds = Field(default=120.0, description="Seconds to wait for the model.")


class ServerSection(Section):
    """rag serve."""

    host: str = Field(
        default="127.0.0.1", min_length=1, description="A loopback address: there are no keys yet."
    )
    port: int = Field(default=8080, ge=0, le=65_535, description="0 takes any free port.")
    max_body_mb: Count = Field(default=64, description="Megabytes of the largest request.")
    workers: int = Field(
        default=4, ge=1, le=256, description="Requests that search, answer or ingest at a time."
    )
    queue: int = Field(
        default=64, ge=0, description="Requests that may wait for that; more are told to come back (503)."
    )


class TracesSection(Section):
    """What is kept of every question that is asked: rag traces, rag replay, rag diff, rag prompts stats."""

    enabled: bool = Field(default=True, description="Keep a trace of every answer.")
    keep_days: int = Field(default=30, ge=0, le=36_500, description="Days that one is kept; 0: no limit.")
    keep: Literal["text", "hashes"] = Field(
        default="text",
        description="text, or hashes: of questions, answers and variables only salted hashes are kept; such"
        " traces can be counted, not asked again.",
    )
    max_mb: int = Field(
        default=500, ge=0, description="Megabytes of all together; the oldest go first; 0: no limit."
    )
    redact: tuple[Redactor, ...] = Field(
        default=(),
        description="What is replaced by a tag before anything is kept: email, phone, iban, card, dni (and"
        " NIE), ssn, ip. Keys and passwords always are.",
    )


class Settings(Section):
    """All settings. ``data`` and ``prompts.dir`` are absolute once they are loaded."""

    data: Path = Field(default=Path(".rag"), description="Folder of the catalogue and the indexes.")
    collection: str = Field(
        default="default", min_length=1, description="The collection where none is named."
    )
    embedder: EmbedderSection = EmbedderSection()
    chunker: ChunkerSection = ChunkerSection()
    ingest: IngestSection = IngestSection()
    index: IndexSection = IndexSection()
    retrieval: RetrievalSection = RetrievalSection()
    context: ContextSection = ContextSection()
    answer: AnswerSection = AnswerSection()
    prompts: PromptsSection = PromptsSection()
    llm: LlmSection = LlmSection()
    server: ServerSection = ServerSection()
    traces: TracesSection = TracesSection()
    llm_api_key: SecretStr | None = Field(default=None, description="From RAG_LLM_API_KEY alone.")
    chroma_token: SecretStr | None = Field(default=None, description="From RAG_CHROMA_TOKEN alone.")

    def named(self, collection: Collections) -> tuple[str, ...]:
        """The collections that are meant, each once.

        >>> Settings().named(None), Settings().named(["faq", "handbook", "faq"])
        (('default',), ('faq', 'handbook'))
        """
        if isinstance(collection, str):
            return (collection,)
        return tuple(dict.fromkeys(collection or ())) or (self.collection,)
