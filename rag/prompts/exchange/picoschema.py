"""Picoschema and JSON Schema as the inputs of a prompt, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rag.prompts.exchange.draft import Names
from rag.prompts.values import Input

_KINDS = {
    "string": "string",
    "integer": "integer",
    "number": "float",
    "boolean": "boolean",
    "array": "array",
    "object": "object",
    "any": "string",
    "enum": "string",
}
_TYPES = {"string": "string", "integer": "integer", "float": "number", "boolean": "boolean"}


def inputs(
    schema: object, *, defaults: Mapping[str, Any], names: Names, lost: list[str]
) -> tuple[Input, ...]:
    """The inputs that a schema declares; what it says beyond kind and description goes to ``lost``.

    >>> inputs({"name": "string, who", "age?": "integer"}, defaults={}, names=Names(), lost=[])[0]
    Input(name='name', kind='string', description='who', required=True, default=None)
    """
    if not isinstance(schema, Mapping):
        if schema is not None:
            lost.append(f"the schema {schema!r}: it is kept elsewhere; declare the inputs by hand")
        schema = {}
    if isinstance(schema.get("properties"), Mapping):
        found = _json_schema(schema, lost)
    else:
        found = [_pico(str(key), value, lost) for key, value in schema.items() if key != "(*)"]
        if "(*)" in schema:
            lost.append("the schema's wildcard (*): a prompt here takes the inputs that it declares")
    declared = {name for name, *_ in found}
    found += [(name, kind_of(value), "", True) for name, value in defaults.items() if name not in declared]
    return tuple(
        Input(names.of(name), kind, description, required and name not in defaults, defaults.get(name))
        for name, kind, description, required in found
    )


def picoschema(declared: Sequence[Input]) -> dict[str, Any]:
    """Inputs as Picoschema; as JSON Schema where a description could not stand in it.

    >>> picoschema((Input("n", "float", "how much", False, None), Input("xs", "array", "", True, None)))
    {'n?': 'number, how much', 'xs(array)': 'any'}
    """
    if any("\n" in each.description or "(" in each.description for each in declared):
        return _as_json_schema(declared)
    schema: dict[str, Any] = {}
    for each in declared:
        key = each.name if each.required or each.default is not None else f"{each.name}?"
        if each.kind in _TYPES:
            told = f", {each.description}" if each.description else ""
            schema[key] = f"{_TYPES[each.kind]}{told}"
        else:
            told = f", {each.description}" if each.description else ""
            schema[f"{key}({each.kind}{told})"] = "any" if each.kind == "array" else {"(*)": "any"}
    return schema


def _as_json_schema(declared: Sequence[Input]) -> dict[str, Any]:
    properties = {}
    for each in declared:
        about: dict[str, Any] = {"type": _TYPES.get(each.kind, each.kind)}
        if each.description:
            about["description"] = each.description
        properties[each.name] = about
    required = [each.name for each in declared if each.required]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _pico(key: str, value: object, lost: list[str]) -> tuple[str, str, str, bool]:
    name, bracket, about = key.partition("(")
    required = not name.endswith("?")
    name = name.removesuffix("?").strip()
    if bracket:
        kind, _, description = about.removesuffix(")").partition(",")
        if kind == "enum":
            lost.append(f"that {name} is one of {value}: an input here has a kind, and no list of values")
        return name, _KINDS.get(kind.strip(), "object"), description.strip(), required
    if isinstance(value, Mapping):
        return name, "object", "", required
    kind, _, description = str(value).partition(",")
    if kind.strip() not in _KINDS:
        lost.append(f"the schema {kind.strip()!r} of {name}: it is kept elsewhere")
        return name, "object", description.strip(), required
    return name, _KINDS[kind.strip()], description.strip(), required


def _json_schema(schema: Mapping[Any, Any], lost: list[str]) -> list[tuple[str, str, str, bool]]:
    listed = schema.get("required")
    required = set(listed) if isinstance(listed, list) else set()
    found = []
    for name, about in schema["properties"].items():
        about = about if isinstance(about, Mapping) else {}
        told = about.get("type", "string")
        kinds = [each for each in (told if isinstance(told, list) else [told]) if each != "null"]
        beyond = sorted(set(map(str, about)) - {"type", "description", "default", "items", "properties"})
        if beyond:
            lost.append(f"what the schema says of {name} beyond its kind: {', '.join(beyond)}")
        kind = _KINDS.get(str(kinds[0]) if kinds else "string", "string")
        found.append((str(name), kind, str(about.get("description") or ""), name in required))
    return found


def kind_of(value: object) -> str:
    """The kind of an input whose default is this."""
    for kind, name in (
        (bool, "boolean"),
        (int, "integer"),
        (float, "float"),
        (list, "array"),
        (dict, "object"),
    ):
        if isinstance(value, kind):
            return name
    return "string"
