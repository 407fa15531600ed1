"""reStructuredText to Markdown, by way of docutils' HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ingest.parse.decode import charset, whole
from ingest.parse.html import markdown
from ingest.parse.metadata import flat
from ingest.parse.options import Draft, Piece, Source
from rag.types import MetadataValue

if TYPE_CHECKING:
    from docutils import nodes

_SETTINGS: dict[str, Any] = {
    "_disable_config": True,  # else docutils.conf of the working folder and the home counts
    "file_insertion_enabled": False,
    "raw_enabled": False,
    "report_level": 5,
    "halt_level": 6,
    "syntax_highlight": "none",
    "math_output": "LaTeX",
    "embed_stylesheet": False,
    "stylesheet_path": "",
    "stylesheet": "",
    "doctitle_xform": True,
    "docinfo_xform": True,
    "section_self_link": False,
    "initial_header_level": 2,
    "line_length_limit": 1_000_000,
    "warning_stream": False,
}
MAX_NAMES = 1_000
_DIRECTIVE = re.compile(r"^[ \t]*\.\.[ \t]+(?:\|[^|\n]+\|[ \t]+)?([\w:.+-]+?)::(?:\s|$)", re.MULTILINE)
_ROLE = re.compile(r":((?:[a-zA-Z][\w+.-]*:)?[a-zA-Z][\w+.-]*):`(?:~|!)?([^`<]*[^`<\s])?(?:\s*<([^`>]+)>)?`")
_KNOWN_ROLES = frozenset(
    ("code", "math", "sub", "subscript", "sup", "superscript", "emphasis", "strong", "literal", "title")
)
_HIDDEN = frozenset(
    (
        "toctree",
        "index",
        "highlight",
        "currentmodule",
        "automodule",
        "autoclass",
        "autofunction",
        "autosummary",
        "literalinclude",
        "sectionauthor",
        "codeauthor",
    )
)


def read(source: Source) -> Iterator[Draft]:
    """Headings, tables, lists and code. Nothing is included from other files and no raw HTML passes.

    Directives that docutils does not know (Sphinx's) keep their content; its roles keep their text.
    """
    from docutils.core import publish_doctree, publish_from_doctree
    from selectolax.lexbor import LexborHTMLParser

    text = whole(source.data, declared=charset(source.media_type)).replace("\x00", "\ufffd")
    text = _ROLE.sub(_role_text, text)
    _register_unknown(text)
    tree = publish_doctree(text, settings_overrides=_SETTINGS)
    about = _docinfo(tree)
    page = publish_from_doctree(
        tree, writer="html5", settings_overrides={**_SETTINGS, "output_encoding": "unicode"}
    )
    title = str(tree.get("title") or "")
    yield Draft([Piece(markdown(LexborHTMLParser(page)))], title=title, metadata=about)


def _role_text(match: re.Match[str]) -> str:
    if match[1] in _KNOWN_ROLES:
        return match[0]
    return (
        f"``{match[2] or match[3] or ''}``" if ":" in match[1] or match[1] != "ref" else match[2] or match[3]
    )


def _register_unknown(text: str) -> None:
    """Teach docutils the directives of this text that it does not know.

    The registry is docutils' own and belongs to the process. A name is always taught the same, so
    what was parsed before changes nothing.
    """
    from docutils import nodes
    from docutils.parsers.rst import Directive, directives
    from docutils.statemachine import StringList

    class KeepContent(Directive):
        """The name and the argument as a bold line, the content as it would be without the directive."""

        optional_arguments = 1
        final_argument_whitespace = True
        has_content = True
        option_spec = _AnyOption()

        def run(self) -> list[nodes.Node]:
            if self.name.lower() in _HIDDEN:
                return []
            # Text on the lines right below the name counts as argument; only its first line is one.
            argument, _, more = (self.arguments or [""])[0].partition("\n")
            box = nodes.Element()
            for content in (StringList(more.split("\n")), self.content):
                self.state.nested_parse(content, self.content_offset, box)
            title = nodes.strong("", f"{self.name} {argument}".strip())
            return [nodes.paragraph("", "", title), *box.children]

    from docutils.parsers.rst.languages import en

    known = {*directives._directive_registry, *directives._directives, *en.directives}  # type: ignore[attr-defined]
    for name in sorted({name.lower() for name in _DIRECTIVE.findall(text)} - known)[:MAX_NAMES]:
        directives.register_directive(name, KeepContent)


class _AnyOption(dict[str, Any]):
    """An option specification that accepts every option as it is written."""

    def __contains__(self, name: object) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        return lambda argument: argument

    def __bool__(self) -> bool:
        return True


def _docinfo(tree: nodes.document) -> dict[str, MetadataValue]:
    """The field list at the top: author, date and the rest; it leaves the text."""
    from docutils import nodes

    found: dict[object, object] = {}
    for info in list(tree.findall(nodes.docinfo)):
        for node in info.children:
            if isinstance(node, nodes.field):
                name, body = node.children[0].astext(), node.children[1].astext()
                found[name] = body
            elif isinstance(node, nodes.authors):
                found["author"] = [author.astext() for author in node.children]
            elif isinstance(node, nodes.Element):
                found[node.tagname] = node.astext()
        info.parent.remove(info)
    return flat(found)
