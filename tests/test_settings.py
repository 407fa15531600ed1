"""Where settings come from, which counts, and what a wrong one says."""

import os
import subprocess
import sys
import tomllib
from inspect import signature
from pathlib import Path

import pytest
from pydantic import ValidationError

from api.sections import Section
from api.settings import QUIET, Settings, default_toml, keys, load, quiet_environment
from ingest.parse.options import ParseOptions
from ingest.parse.worker import ParserProcess
from ingest.sources import SourceSettings
from rag.embed import DEFAULT_MODEL
from rag.errors import InvalidSetting
from rag.retrieve import RetrievalSettings


def read(
    folder: Path, text: str | None = None, env: dict[str, str] | None = None, **overrides: object
) -> Settings:
    if text is not None:
        (folder / "rag.toml").write_text(text, "utf-8")
    return load(start=folder, env=env or {}, overrides=overrides)


def refusal(
    folder: Path, text: str | None = None, env: dict[str, str] | None = None, **overrides: object
) -> str:
    with pytest.raises(InvalidSetting) as caught:
        read(folder, text, env, **overrides)
    return str(caught.value)


def test_written_file_reads_back_as_the_defaults(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain, written = read(tmp_path / "a"), read(tmp_path / "b", default_toml())
    assert written.model_dump(exclude={"data", "prompts"}) == plain.model_dump(exclude={"data", "prompts"})
    assert (plain.data, written.data) == (tmp_path / "a/.rag", tmp_path / "b/.rag")
    assert (plain.prompts.dir, written.prompts.dir) == (tmp_path / "a/prompts", tmp_path / "b/prompts")


def test_written_file_holds_every_setting_and_says_what_it_is():
    tree = tomllib.loads(default_toml())

    def flat(tree: dict, outer: str = "") -> set[str]:
        inner = [flat(v, f"{outer}{n}.") for n, v in tree.items() if isinstance(v, dict)]
        return {outer + n for n, v in tree.items() if not isinstance(v, dict)}.union(*inner)

    assert flat(tree) == set(keys())
    lines = default_toml().splitlines()
    for number, line in enumerate(lines):
        if " = " in line and not line.startswith("#"):
            assert lines[number - 1].startswith("# "), f"{line}: no comment above it"
    assert max(map(len, lines)) <= 110


def test_settings_that_shape_the_parts_have_the_parts_own_defaults():
    settings = Settings()
    assert settings.retrieval.retrieval_settings() == RetrievalSettings()
    assert settings.ingest.source_settings() == SourceSettings()
    assert settings.ingest.parse_options() == ParseOptions()
    assert settings.embedder.model == DEFAULT_MODEL
    parser = signature(ParserProcess).parameters
    assert settings.ingest.parser_timeout_s == parser["timeout_s"].default
    assert settings.ingest.parser_memory_mb == parser["memory_mb"].default


def test_option_counts_before_environment_before_file_before_default(tmp_path):
    text = "[retrieval]\nk = 2\n"
    env = {"RAG_RETRIEVAL__K": "3"}
    assert read(tmp_path).retrieval.k == RetrievalSettings().k
    assert read(tmp_path, text).retrieval.k == 2
    assert read(tmp_path, text, env).retrieval.k == 3
    assert read(tmp_path, text, env, **{"retrieval.k": 4}).retrieval.k == 4


def test_file_is_found_from_a_folder_below_and_its_paths_are_relative_to_it(tmp_path):
    below = tmp_path / "a/b"
    below.mkdir(parents=True)
    (tmp_path / "rag.toml").write_text('data = "store"\n[prompts]\ndir = "../mine"\n')
    settings = load(start=below, env={}, overrides={})
    assert settings.data == tmp_path / "store"
    assert settings.prompts.dir == tmp_path / "../mine"
    nearer = below / "rag.toml"
    nearer.write_text("")
    assert load(start=below, env={}, overrides={}).data == below / ".rag"
    assert (
        load(start=below, env={}, overrides={}, config=Path("../../rag.toml")).data == below / "../../store"
    )
    assert load(start=tmp_path, env={"RAG_CONFIG": str(nearer)}, overrides={}).data == below / ".rag"


def test_paths_from_environment_and_options_are_relative_to_the_current_folder(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "rag.toml").write_text('data = "store"\n')
    assert load(start=tmp_path / "a", env={"RAG_DATA": "x"}, overrides={}).data == tmp_path / "a/x"
    assert load(start=tmp_path / "a", env={}, overrides={"data": Path("y")}).data == tmp_path / "a/y"
    assert load(start=tmp_path / "a", env={}, overrides={"data": Path("/z")}).data == Path("/z")


def test_environment_values_are_read_by_the_type_of_the_setting(tmp_path):
    env = {
        "RAG_COLLECTION": "docs",
        "RAG_LLM": "openai:some-model",
        "RAG_LLM__TEMPERATURE": "0.5",
        "RAG_INGEST__INCLUDE": "*.md, *.txt",
        "RAG_INGEST__METADATA_FIELDS": "",
        "RAG_INGEST__ALLOW_PRIVATE_URLS": "true",
        "RAG_EMBEDDER__QUERY_PREFIX": "query: ",
        "RAG_DATA": "",
        "RAGGED": "not ours",
        "RAG_AND_BONE": "not ours either",
        "PATH": "/bin",
    }
    settings = read(tmp_path, env=env)
    assert (settings.collection, settings.llm.model, settings.llm.temperature) == (
        "docs",
        "openai:some-model",
        0.5,
    )
    assert settings.ingest.include == ("*.md", "*.txt")
    assert settings.ingest.metadata_fields == ()
    assert settings.ingest.allow_private_urls
    assert settings.embedder.query_prefix == "query: "
    assert settings.data == tmp_path / ".rag"


@pytest.mark.parametrize(
    ("text", "line", "mend"),
    [
        ("[retrieval]\n\nkk = 3\n", 3, "did you mean [retrieval] k?"),
        ("[retreival]\nk = 3\n", 1, "did you mean [retrieval]?"),
        ("[zzz]\nk = 3\n", 1, "the sections are embedder, chunker"),
        ("colection = 'a'\n", 1, "did you mean collection?"),
        ("k = 3\n", 1, "did you mean [retrieval] k?"),
        ("[server]\nhost = '::1'\nkey = 3\n", 3, "there are [server] host, [server] port"),
        ("[embedder]\nk = 3\n", 2, "did you mean [retrieval] k?"),
        ("[retrieval]\nk = '3'\n", 2, "valid integer"),
        ("[retrieval]\nk = 0\n", 2, "greater than or equal to 1"),
        ("[retrieval]\nk = 3.5\n", 2, "valid integer"),
        ("[retrieval]\nmode = 'both'\n", 2, "'hybrid', 'vector' or 'lexical'"),
        ("[ingest]\ninclude = '*.md'\n", 2, "array"),
        ("[ingest]\nallow_private_urls = 'yes'\n", 2, "boolean"),
        ("[llm]\ntemperature = nan\n", 2, "[llm] temperature"),
        ("[llm]\napi_key = 'sk-1'\n", 2, "RAG_LLM_API_KEY"),
        ("llm_api_key = 'sk-1'\n", 1, "RAG_LLM_API_KEY"),
        ("[index.chroma]\ntoken = 'sk-1'\n", 2, "RAG_CHROMA_TOKEN"),
        ("[index.chroma]\nurll = 'x'\n", 2, "did you mean [index.chroma] url?"),
        ("[index]\nbackend = 'faiss'\nchroma = 3\n", 3, "[index.chroma]"),
        ("[index]\nkind = 'faiss'\n", 2, "'rabitq'"),
        ("retrieval = 3\n", 1, "[retrieval]"),
        ("[data]\nx = 1\n", None, "data"),
        ("retrieval.kk = 3\n", None, "did you mean [retrieval] k?"),
        ("[retrieval.k]\nx = 3\n", None, "[retrieval] k"),
        ("[[retrieval]]\nk = 3\n", None, "[retrieval]"),
        ("[retrieval\nk = 3\n", None, "line 1"),
    ],
)
def test_wrong_setting_is_named_with_its_place_and_what_mends_it(tmp_path, text, line, mend):
    message = refusal(tmp_path, text)
    place = str(tmp_path / "rag.toml")
    assert message.startswith(f"{place}:{line}: " if line else place)
    assert mend in message
    assert "sk-1" not in message


@pytest.mark.parametrize(
    ("name", "value", "mend"),
    [
        ("RAG_RETRIEVAL__KK", "3", "did you mean [retrieval] k?"),
        ("RAG_RETREIVAL__K", "3", "did you mean [retrieval]?"),
        ("RAG_RETRIEVAL__K", "many", "valid integer"),
        ("RAG_COLECTION", "a", "did you mean RAG_COLLECTION?"),
        ("RAG_LLM__API_KEY", "sk-1", "RAG_LLM_API_KEY"),
    ],
)
def test_wrong_variable_is_named_with_what_mends_it(tmp_path, name, value, mend):
    message = refusal(tmp_path, env={name: value})
    assert message.startswith(name)
    assert mend in message
    assert "sk-1" not in message


def test_wrong_option_and_missing_file_are_named(tmp_path):
    assert "retrieval" in refusal(tmp_path, **{"retrieval.k": 0})
    assert "rag init" in refusal(tmp_path, env={"RAG_CONFIG": "nowhere.toml"})
    (tmp_path / "rag.toml").write_bytes(b"\xef\xbb\xbf[retrieval]\r\nk = 3\r\n")
    assert read(tmp_path).retrieval.k == 3
    (tmp_path / "rag.toml").write_bytes(b"\xff\xfe")
    assert "not TOML" in refusal(tmp_path)


def test_api_key_comes_from_the_environment_and_is_never_shown(tmp_path):
    settings = read(tmp_path, env={"RAG_LLM_API_KEY": "sk-secret"})
    assert settings.llm_api_key is not None
    assert settings.llm_api_key.get_secret_value() == "sk-secret"
    assert "sk-secret" not in repr(settings) + settings.model_dump_json()


def test_section_inside_a_section_is_read_from_file_and_environment(tmp_path):
    (tmp_path / "rag.toml").write_text(
        "[index]\nbackend = 'chroma'\n[index.chroma]\nurl = 'http://localhost:8000'\ntenant = 'a'\n"
    )
    env = {"RAG_INDEX__CHROMA__TENANT": "b", "RAG_CHROMA_TOKEN": "sk-secret"}
    settings = read(tmp_path, env=env)
    assert (settings.index.chroma.url, settings.index.chroma.tenant) == ("http://localhost:8000", "b")
    assert settings.chroma_token is not None
    made = settings.index.index_settings(token=settings.chroma_token.get_secret_value())
    assert (made.kind, made.chroma.tenant, made.chroma.token) == ("chroma-server", "b", "sk-secret")
    assert "sk-secret" not in repr(settings) + settings.model_dump_json() + repr(made)
    assert read(tmp_path, env={"RAG_INDEX__CHROMA__URL": ""}).index.index_settings().kind == "chroma"
    with pytest.raises(InvalidSetting, match="leave one of them out"):
        read(tmp_path, env={"RAG_INDEX__KIND": "hnsw"}).index.index_settings()


def test_settings_are_frozen_and_know_no_other_names():
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.collection = "other"
    with pytest.raises(ValidationError):
        Settings(colection="other")
    sections = [type(getattr(settings, name)) for name in Settings.model_fields]
    for section in sections:
        if issubclass(section, Section):
            assert section.model_config["extra"] == "forbid"
            assert section.model_config["frozen"]


def test_entry_points_switch_telemetry_off_but_keep_what_the_user_set(monkeypatch):
    for name in QUIET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    quiet_environment()
    assert os.environ["ANONYMIZED_TELEMETRY"] == "False"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert os.environ["LANGSMITH_TRACING"] == "true"


def test_reading_settings_loads_no_heavy_library():
    heavy = "{'torch', 'faiss', 'chromadb', 'langchain', 'httpx'}"
    code = f"import sys, api.settings; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_model_is_looked_for_beside_the_file_that_names_it_and_names_come_first(tmp_path):
    for name in ("mine", "late", "all-MiniLM-L6-v2", "below"):
        (tmp_path / name).mkdir()
    file = tmp_path / "rag.toml"
    for model, reranker in (("all-MiniLM-L6-v2", "late"), ("owner/model", "ms-marco-MiniLM-L6-v2")):
        file.write_text(f'[embedder]\nmodel = "{model}"\n[retrieval]\nreranker = "{reranker}"\n', "utf-8")
        settings = load(start=tmp_path / "below", env={}, overrides={})
        assert (settings.embedder.model, settings.retrieval.reranker) == (model, reranker)
    file.write_text('[embedder]\nmodel = "mine"\n[retrieval]\nreranker = "mine"\n', "utf-8")
    settings = load(start=tmp_path / "below", env={}, overrides={})
    assert settings.embedder.model == settings.retrieval.reranker == str(tmp_path / "mine")
