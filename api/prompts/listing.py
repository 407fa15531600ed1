"""The library looked at: what there is, one prompt, and how two of them differ."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from api.prompts.library import Found, find
from indexes.library.review import Review, review_of
from rag import prompts
from rag.errors import UnknownPrompt
from rag.prompts import PromptTemplate
from rag.prompts.anatomy import body_of
from rag.prompts.versions import LATEST, Draft, Facts, Version

if TYPE_CHECKING:
    from api.services import Services

Working = Literal["", "same", "changed", "new", "broken"]


@dataclass(frozen=True, slots=True)
class Listed:
    """A prompt of the list. ``versions`` is 0 where the library has none; ``shipped`` says that one of this
    name is shipped. ``working`` is how the file in the folder stands to the newest version: "" without a
    file, ``new`` where the library has no such prompt."""

    name: str
    versions: int
    labels: Mapping[str, int]
    facts: Facts
    author: str
    changed_at: str
    shipped: bool
    working: Working


def listed(
    services: Services,
    *,
    tag: str = "",
    category: str = "",
    model: str = "",
    label: str = "",
    language: str = "",
) -> list[Listed]:
    """Every prompt, by name: the library's, the folder's, the shipped ones; or those that pass all filters.

    ``model`` is looked for in the models and variants that a prompt names.
    """
    found: dict[str, Listed] = {}
    if services.has_library:
        for entry in services.library().entries():
            found[entry.name] = Listed(
                entry.name, entry.latest, entry.labels, entry.facts, entry.author, entry.changed_at, False, ""
            )
    for name in prompts.names():
        here = found.get(name) or _bare(name, Facts.of(prompts.load(name)))
        found[name] = replace(here, shipped=True)
    for name, working, facts in _working(services):
        here = found.get(name) or _bare(name, facts)
        if not here.versions:
            here = replace(here, facts=facts)  # the file comes before the shipped one
        found[name] = replace(here, working=working)
    return [
        one
        for _, one in sorted(found.items())
        if (not tag or tag in one.facts.tags)
        and (not category or category.casefold() == one.facts.category.casefold())
        and (not model or any(model.casefold() in named.casefold() for named in one.facts.models))
        and (not label or (label in one.labels or (label == LATEST and one.versions > 0)))
        and (not language or language == one.facts.language)
    ]


def _bare(name: str, facts: Facts) -> Listed:
    return Listed(name, 0, {}, facts, "", "", False, "")


def _working(services: Services) -> Iterator[tuple[str, Working, Facts]]:
    """The files of the settings' folder; those that are as the library has them are not parsed."""
    from api.prompts.pushing import planned

    folder = services.settings.prompts.dir
    if not folder.is_dir():
        return
    heads = services.library().heads() if services.has_library else {}
    plan = planned(folder, heads)
    for name in plan.unchanged:
        yield name, "same", Facts()
    for draft in plan.drafts:
        known = draft.name in heads and not heads[draft.name].removed
        yield draft.name, "changed" if known else "new", draft.facts
    for name in plan.broken:
        yield name, "broken", Facts()


@dataclass(frozen=True, slots=True)
class Shown:
    """One prompt. ``facts`` are further keys of its header, flat; ``body`` what stands below it. ``latest``
    is the library's highest version, 0 without, and ``as_latest`` says that the prompt is the same as that;
    ``review`` is None where nobody proposed or judged it."""

    template: PromptTemplate
    origin: Literal["file", "library", "shipped"]
    version: Version | None
    latest: int
    as_latest: bool
    labels: Mapping[str, int]
    review: Review | None
    tests: str | None
    facts: Mapping[str, str]
    body: str


def shown(services: Services, reference: str) -> Shown:
    """What a reference leads to. Raises as :func:`api.prompts.library.find`."""
    found = find(services, reference)
    template, version = found.template, found.version
    labels: Mapping[str, int] = {}
    latest, as_latest, review = 0, False, None
    if found.origin != "shipped" and services.has_library:
        library = services.library()
        with suppress(UnknownPrompt):  # of a file that was not pushed yet
            newest = library.version(template.name, LATEST)
            latest, as_latest = newest.number, newest.digest == template.digest
            labels = library.labels(template.name)
    if version:
        review = review_of(library, version.name, version.number)
        if not (review.proposed_by or review.approved_by or review.rejected_by):
            review = None
    told = {"category", "tags", "language", "description"}
    facts = {
        key: value
        for key, value in _facts(template).items()
        if key not in told and not key.startswith("variable ")
    }
    body = body_of(template.source)[0].strip("\n")
    return Shown(template, found.origin, version, latest, as_latest, labels, review, found.tests, facts, body)


@dataclass(frozen=True, slots=True)
class Difference:
    """How two prompts differ: ``facts`` as (what, before, after), and a unified diff a file."""

    before: str
    after: str
    facts: tuple[tuple[str, str, str], ...]
    files: Mapping[str, str]


def differences(services: Services, one: str, other: str) -> Difference:
    """What changes from one reference to the other. Raises as :func:`api.prompts.library.find`."""
    a, b = find(services, one), find(services, other)
    before, after = _texts(a), _texts(b)
    files = {}
    for path in dict.fromkeys([*before, *after]):
        old, new = before.get(path, ""), after.get(path, "")
        if old != new:
            shown = path or "prompt"
            files[shown] = "\n".join(
                difflib.unified_diff(
                    old.splitlines(),
                    new.splitlines(),
                    f"{one} {path}".strip(),
                    f"{other} {path}".strip(),
                    lineterm="",
                )
            )
    facts = _facts(a.template), _facts(b.template)
    keys = dict.fromkeys([*facts[0], *facts[1]])
    changed = [(key, facts[0].get(key, ""), facts[1].get(key, "")) for key in keys]
    return Difference(one, other, tuple(each for each in changed if each[1] != each[2]), files)


def _texts(found: Found) -> dict[str, str]:
    """The prompt's own text under "", its parts by path."""
    draft = Draft.of(found.template, name="")
    return {"": draft.source, **draft.parts}


def _facts(template: PromptTemplate) -> dict[str, str]:
    """What the front matter says, flat: one line for each thing that may change."""
    inputs = {}
    for each in template.inputs:
        needed = "required" if each.required else f"default {each.default!r}"
        inputs[f"variable {each.name}"] = f"{each.kind}, {needed}"
    return {
        "description": template.description,
        **inputs,
        **dict(_flat("model", template.model)),
        **dict(_flat("", template.metadata)),
    }


def _flat(outer: str, value: Any) -> Iterator[tuple[str, str]]:
    """
    >>> list(_flat("model", {"options": {"temperature": 0}}))
    [('model.options.temperature', '0')]
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{outer}.{key}".lstrip("."), inner)
    elif isinstance(value, list | tuple):
        yield outer, ", ".join(str(each) for each in value)
    else:
        yield outer, str(value)
