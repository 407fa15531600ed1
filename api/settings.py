"""The one reader of rag.toml and the environment. What can be set stands in :mod:`api.sections`.

An option counts before the environment, the environment before the file, the file before the
defaults. Whatever cannot be used is an InvalidSetting that says where it stands and what mends it:
a setting that is misspelt would else be one that is silently not in force.
"""

from __future__ import annotations

import json
import os
import re
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from api.rerankers import LATE
from api.sections import Section, Settings
from rag.embed import BUNDLED, DEFAULT_MODEL
from rag.errors import InvalidSetting

__all__ = ["Settings", "changed", "default_toml", "keys", "load", "quiet_environment"]

FILE = "rag.toml"
PREFIX = "RAG_"
CONFIG = "RAG_CONFIG"
SECRETS = MappingProxyType(
    {
        "llm_api_key": ("llm.api_key", "RAG_LLM_API_KEY"),
        "chroma_token": ("index.chroma.token", "RAG_CHROMA_TOKEN"),
    }
)
"""The settings that stand in no file: where one would look for each, and the variable that it comes from."""
PATHS = ("data", "prompts.dir")
NAMES_OR_PATHS = ("embedder.model", "retrieval.reranker", "llm.tokenizer")
"""A name of something, or the path of what is there: relative, as paths are, to where it stands."""
NAMES = frozenset({*BUNDLED, LATE})
"""Names that come first, whatever lies there under them."""
SHORT_NAMES = MappingProxyType(
    {"RAG_DATA": "data", "RAG_COLLECTION": "collection", "RAG_LLM": "llm.model"}
    | {"RAG_AUTHOR": "prompts.author"}
    | {variable: secret for secret, (_, variable) in SECRETS.items()}
)
QUIET = MappingProxyType(
    {
        "ANONYMIZED_TELEMETRY": "False",  # chromadb
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "LANGCHAIN_TRACING_V2": "false",
        "LANGSMITH_TRACING": "false",
        "ORT_DISABLE_TELEMETRY": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "TOKENIZERS_PARALLELISM": "false",  # no telemetry, but a warning at every fork
    }
)


_Part = TypeVar("_Part", bound=BaseModel)


def load(
    *, start: Path, env: Mapping[str, str], overrides: Mapping[str, Any], config: Path | None = None
) -> Settings:
    """The settings in force.

    rag.toml is looked for in ``start`` and its parents; ``config``, or RAG_CONFIG, names one instead.
    ``env`` may hold RAG_DATA, RAG_COLLECTION, RAG_LLM, RAG_AUTHOR, RAG_LLM_API_KEY, RAG_CHROMA_TOKEN and
    RAG_<SECTION>__<NAME>, in which a list is written with commas. ``overrides`` are options by key:
    ``{"retrieval.k": 3}``. A relative path is relative to the file that it stands in, else to ``start``;
    the data folder of the defaults lies beside rag.toml. Raises InvalidSetting.
    """
    start = start.absolute()
    file = _file(start, env, config)
    home = file.parent if file else start
    values: dict[str, Any] = {key: home / _field(key).default for key in PATHS}
    given = [*(_from_file(file) if file else ()), *_from_env(env, start), *_from_options(overrides, start)]
    for one in given:
        value = _checked(one)
        if one.key in PATHS:
            value = one.base / value.expanduser()
        elif one.key in NAMES_OR_PATHS and value and value not in NAMES:
            there = one.base / Path(value).expanduser()
            value = str(there) if there.exists() else value
        values[one.key] = value
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *outer, name = key.split(".")
        inner = tree
        for section in outer:
            inner = inner.setdefault(section, {})
        inner[name] = value
    return Settings(**tree)


def changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """The same settings but for ``changes`` by key, such as ``{"retrieval.k": 3}``. Raises InvalidSetting."""
    made = settings
    for one in _from_options(changes, settings.data):
        value = _checked(one)
        *outer, name = one.key.split(".")
        made = _replaced(made, outer, name, value)
    return made


def _replaced(section: _Part, outer: Sequence[str], name: str, value: Any) -> _Part:
    if outer:
        name, value = outer[0], _replaced(getattr(section, outer[0]), outer[1:], name, value)
    return section.model_copy(update={name: value})


def quiet_environment() -> None:
    """Switch off what the libraries would report to their makers. What the user has set stays as it is."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)


def keys() -> list[str]:
    """Every setting that may stand in rag.toml, as "section.name", in the order of the file."""
    return [
        f"{outer}.{name}".lstrip(".")
        for outer, section in _sections().items()
        for name, field in section.model_fields.items()
        if not _section(field) and name not in SECRETS
    ]


def default_toml(*, model: str = DEFAULT_MODEL) -> str:
    """The commented rag.toml that ``rag init`` writes: every setting with its default, and ``model``."""
    lines = [
        "# Settings of promptwell. Change what you need; a line that you delete has its default.",
        "# A command's option counts before an environment variable (RAG_DATA, RAG_COLLECTION, RAG_LLM,",
        "# RAG_<SECTION>__<NAME>, such as RAG_RETRIEVAL__K=5), and that before this file.",
        "# Paths are relative to this file.",
    ]
    section = ""
    for key in keys():
        outer, _, name = key.rpartition(".")
        if outer != section:
            section = outer
            lines += ["", "", f"[{outer}]", *_comment(_sections()[outer].__doc__ or "")]
        field = _field(key)
        value = model if key == "embedder.model" else field.default
        lines += ["", *_comment(field.description or ""), f"{name} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, width=100, initial_indent="# ", subsequent_indent="# ")


def _toml(value: Any) -> str:
    """A default as TOML writes it; JSON's strings, numbers, booleans and lists are TOML's too."""
    return json.dumps(value, ensure_ascii=False, default=str)


# --- where values come from ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Given:
    """A value that somebody set. ``place`` names it in messages; ``base`` is what a path is relative to."""

    key: str
    value: Any
    place: str
    base: Path
    is_text: bool = False


def _file(start: Path, env: Mapping[str, str], config: Path | None) -> Path | None:
    named = config or (Path(env[CONFIG]) if env.get(CONFIG) else None)
    if named is None:
        return next((path for folder in (start, *start.parents) if (path := folder / FILE).is_file()), None)
    path = start / named.expanduser()
    if not path.is_file():
        raise InvalidSetting(f"there is no settings file {path}; rag init writes one")
    return path


def _from_file(path: Path) -> Iterator[_Given]:
    try:
        text = path.read_bytes().decode("utf-8-sig")  # some editors begin a file with a byte order mark
        tree = tomllib.loads(text)
    except OSError as error:
        raise InvalidSetting(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidSetting(f"{path} is not TOML: {error}") from error
    yield from _in_section(tree, "", path, text)


def _in_section(tree: Mapping[str, Any], outer: str, path: Path, text: str) -> Iterator[_Given]:
    for name, value in tree.items():
        key = f"{outer}.{name}".lstrip(".")
        if isinstance(value, dict) and key in _sections():
            yield from _in_section(value, key, path, text)
        elif isinstance(value, dict) and not outer and name not in Settings.model_fields:
            raise _unknown(name, _line(path, text, name, ""), is_section=True)
        else:
            yield _Given(key, value, _line(path, text, outer, name), path.parent)


def _from_env(env: Mapping[str, str], base: Path) -> Iterator[_Given]:
    """Without two underscores a variable may be another program's, unless it looks like a slip of ours."""
    for name in sorted(env):
        if name in SHORT_NAMES:
            if env[name]:
                yield _Given(SHORT_NAMES[name], env[name], name, base, is_text=True)
        elif name.startswith(PREFIX) and "__" in name:
            key = name.removeprefix(PREFIX).lower().replace("__", ".")
            yield _Given(key, env[name], name, base, is_text=True)
        elif name.startswith(PREFIX) and name != CONFIG:
            near = get_close_matches(name, [*SHORT_NAMES, CONFIG], n=1, cutoff=0.8)
            if near:
                raise InvalidSetting(f"{name} is not a setting; did you mean {near[0]}?")


def _from_options(overrides: Mapping[str, Any], base: Path) -> Iterator[_Given]:
    for key, value in overrides.items():
        yield _Given(key, value, f"the option for {key}", base)


def _line(path: Path, text: str, section: str, name: str) -> str:
    """ "file:line" of a name in a section (of the section itself without a name), "file" if not found."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r"\s*\[\s*([\w.-]+)\s*\]", line)
        if header:
            current = header[1]
            if current == section and not name:
                return f"{path}:{number}"
        elif current == section and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*[=.]", line):
            return f"{path}:{number}"
    return str(path)


# --- what they must be ---------------------------------------------------------------------------


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


@cache
def _sections() -> dict[str, type[Section]]:
    """Every section by its name, one inside another as "outer.inner"; "" is what stands in none."""
    found: dict[str, type[Section]] = {"": Settings}
    waiting = [""]
    while waiting:
        outer = waiting.pop(0)
        for name, field in found[outer].model_fields.items():
            if section := _section(field):
                key = f"{outer}.{name}".lstrip(".")
                found[key] = section
                waiting.append(key)
    return found


def _field(key: str) -> FieldInfo:
    outer, _, name = key.rpartition(".")
    return _sections()[outer].model_fields[name]


def _checked(given: _Given) -> Any:
    for secret, (elsewhere, variable) in SECRETS.items():
        if given.key == elsewhere or (given.key == secret and not given.is_text):
            raise InvalidSetting(
                f"{given.place}: keys never stand in a file; set {variable} in the environment"
            )
    if given.key not in keys() and given.key not in SECRETS:
        raise _unknown(given.key, given.place)
    field = _field(given.key)
    kind: Any = Annotated[field.annotation, field]  # with the field's bounds
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    try:
        if given.is_text:
            is_list = isinstance(field.default, tuple)
            value = (
                [part.strip() for part in given.value.split(",") if part.strip()] if is_list else given.value
            )
            return adapter.validate_python(value)
        # JSON's strictness is TOML's: a list is an array, 3 is a float too, "3" is not a number.
        return adapter.validate_json(json.dumps(given.value, default=str), strict=True)
    except ValidationError as error:
        why = error.errors(include_url=False, include_context=False, include_input=False)[0]["msg"]
        shown = "" if given.key in SECRETS else f" = {_toml(given.value)}"
        message = f"{given.place}: {_name(given.key)}{shown} cannot be used: {why}. {field.description}"
        raise InvalidSetting(message) from error


def _unknown(key: str, place: str, *, is_section: bool = False) -> InvalidSetting:
    outer, _, name = key.rpartition(".")
    sections = [name for name in _sections() if name]
    if is_section or (outer and outer not in sections):
        wrong = f"[{key if is_section else outer}]"
        near = get_close_matches(wrong.strip("[]"), sections, n=1)
        mend = f"did you mean [{near[0]}]?" if near else f"the sections are {', '.join(sections)}"
        return InvalidSetting(f"{place}: there is no section {wrong}; {mend}")
    if key in sections:
        return InvalidSetting(f"{place}: {key} is a section; write [{key}] on a line above its settings")
    here = [k for k in keys() if k.rpartition(".")[0] == outer]
    same_name = [k for k in keys() if k.rpartition(".")[2] == name]
    alike = get_close_matches(name, [k.rpartition(".")[2] for k in here], n=1)
    near = same_name or [f"{outer}.{one}".lstrip(".") for one in alike]
    mend = f"did you mean {_name(near[0])}?" if near else f"there are {', '.join(map(_name, here))}"
    return InvalidSetting(f"{place}: there is no setting {_name(key)}; {mend}")


def _name(key: str) -> str:
    """A key as rag.toml shows it.

    >>> _name("retrieval.k"), _name("data")
    ('[retrieval] k', 'data')
    """
    outer, _, name = key.rpartition(".")
    return f"[{outer}] {name}" if outer else name
