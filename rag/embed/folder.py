"""A sentence-transformers model as a folder of files: what it says of itself, its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from rag.embed.model import Array, Model, Rows
from rag.errors import EmbedderError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder(Model):
    """A model that sentence-transformers itself can load: any chain of modules, any pooling."""

    transformer: Path

    def files(self) -> Mapping[str, Path]:
        paths = [path for path in sorted(self.path.rglob("*.safetensors")) if self._in_use(path)]
        paths += [self.transformer / "config.json", self.transformer / "tokenizer.json"]
        paths += [path for path in sorted(self.path.glob("*/config.json")) if self._in_use(path)]
        return {path.relative_to(self.path).as_posix(): path for path in paths}

    def tokenizer(self) -> RustTokenizer:
        from tokenizers import Tokenizer

        return Tokenizer.from_file(str(self.transformer / "tokenizer.json"))

    def weights(self) -> Safetensors:
        return Safetensors(self.transformer / "model.safetensors")

    def _in_use(self, path: Path) -> bool:
        """Whether ``path`` belongs to a module of the chain: folders such as onnx/ do not."""
        modules = _json(self.path / "modules.json", [])
        used = {self.transformer, *(self.path / str(module["path"]) for module in modules)}
        return path.parent in used


def read_folder(
    name: str, path: Path, *, query_prefix: str | None = None, document_prefix: str | None = None
) -> ModelFolder:
    """Read a model's configuration files; None for a prefix takes the model's own prompt.

    Raises EmbedderError where the folder lacks a file that is needed.
    """
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
        name=name,
        path=path,
        transformer=transformer,
        dim=dim,
        max_tokens=_max_tokens(transformer, config),
        pooling=pooling,
        query_prefix=(prompts.get("query") or default) if query_prefix is None else query_prefix,
        document_prefix=own_document if document_prefix is None else document_prefix,
        config=config,
    )


class Safetensors:
    """The tensors of a safetensors file under BERT's own names, read from disk on use (memory map)."""

    def __init__(self, path: Path) -> None:
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        size = int(self._bytes[:8].view("<u8")[0])
        header = json.loads(self._bytes[8 : 8 + size].tobytes())
        header.pop("__metadata__", None)
        anchor = "embeddings.word_embeddings.weight"
        prefix = next(name for name in header if name.endswith(anchor)).removesuffix(anchor)
        self._tensors = {n.removeprefix(prefix): t for n, t in header.items() if n.startswith(prefix)}
        self._start = 8 + size

    def __getitem__(self, name: str) -> Array:
        tensor = self._tensors[name]
        begin, end = tensor["data_offsets"]
        raw = self._bytes[self._start + begin : self._start + end]
        array: npt.NDArray[Any]
        if tensor["dtype"] == "BF16":
            array = (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            array = raw.view({"F32": "<f4", "F16": "<f2", "F64": "<f8"}[tensor["dtype"]])
        return array.reshape(tensor["shape"]).astype(np.float32, copy=False)

    def rows(self, name: str) -> Rows:
        return self[name]


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
