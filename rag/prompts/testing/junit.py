"""Results of prompt tests as JUnit XML, which every CI system reads."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence

from rag.prompts.testing.runs import Result, counts

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no way to write, not even escaped."""
MAX_ANSWER = 2_000
"""Characters of an answer that are shown."""


def junit_xml(results: Mapping[str, Sequence[Result]]) -> str:
    """One ``testsuite`` for each prompt's results, by its name. What could not be evaluated is ``skipped``.

    >>> junit_xml({}).splitlines()[0]
    "<?xml version='1.0' encoding='utf-8'?>"
    """
    root = ElementTree.Element("testsuites", name="rag prompts test")
    for name, of_prompt in results.items():
        found = counts(of_prompt)
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=xml_text(name),
            tests=str(len(of_prompt)),
            failures=str(found["failed"]),
            errors=str(found["error"]),
            skipped=str(found["unevaluated"]),
            time=_seconds(sum(result.seconds for result in of_prompt)),
        )
        for result in of_prompt:
            _case(suite, name, result)
    ElementTree.indent(root)
    xml: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return f"{xml.decode()}\n"


def _case(suite: ElementTree.Element, name: str, result: Result) -> None:
    case = ElementTree.SubElement(
        suite,
        "testcase",
        name=xml_text(result.case.description),
        classname=xml_text(name),
        time=_seconds(result.seconds),
    )
    if result.status == "passed":
        return
    kind = {"failed": "failure", "error": "error", "unevaluated": "skipped"}[result.status]
    told = ElementTree.SubElement(case, kind, message=xml_text(result.reason))
    lines = [
        f"{outcome.status}: {outcome.name} (line {outcome.line}): {outcome.reason}"
        for outcome in result.outcomes
        if outcome.status != "passed"
    ]
    if result.answer:
        lines.append(f"answer: {result.answer[:MAX_ANSWER]}")
    told.text = xml_text("\n".join(lines))


def xml_text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}"
