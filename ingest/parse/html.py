"""HTML to Markdown: what surrounds the text is taken off first, headings, tables and code stay."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ingest.parse.decode import charset, whole
from ingest.parse.metadata import flat, language_code
from ingest.parse.options import Draft, Piece, Source
from rag.errors import SourceError
from rag.types import MetadataValue

if TYPE_CHECKING:
    from selectolax.lexbor import LexborHTMLParser, LexborNode

MAX_NESTED = 5_000
"""Open elements before parsing is refused: the tree builder's time grows with the square of it."""

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_TAGS = re.compile(r"<!--.*?-->|<(script|style|textarea)\b.*?</\1\s*>|<(/?)([a-zA-Z][^\s/>]*)", re.S | re.I)
# Void elements, and those that the next one of their kind ends.
_NEVER_OPEN = frozenset(
    (
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "dt",
        "dd",
        "td",
        "th",
        "tr",
        "tbody",
        "thead",
        "tfoot",
        "option",
        "colgroup",
    )
)
_NOISE = (
    "script, style, noscript, template, nav, iframe, svg, canvas, button, input, select, dialog, object, "
    "embed, [hidden], [role=navigation], [role=banner], [role=contentinfo], [role=search], [role=dialog], "
    "[role=alertdialog], a.headerlink, a.anchor-link, a.skip-link, .sr-only"
)
_CONSENT = re.compile(
    r"(?:^|[\s_-])(?:cookies?[\s_-]?(?:banner|bar|notice|popup|modal|law|message|alert|policy|wrapper|consent)"
    r"|consent|gdpr|onetrust|cc-window)(?:$|[\s_-])",
    re.IGNORECASE,
)
_LANGUAGE = re.compile(
    r"(?:^|\s)(?:language-|lang-|highlight-source-|highlight-|brush:\s*|sourceCode\s+|code\s+)([A-Za-z][\w+#-]*)"
)
_DATES = (
    "article:published_time",
    "datepublished",
    "date",
    "dc.date",
    "dcterms.created",
    "article:modified_time",
)


def read(source: Source) -> Iterator[Draft]:
    """The page's own text. Raises SourceError ``too_large`` when elements nest too deeply to be kept."""
    declared = charset(source.media_type)
    if not declared and (match := _META_CHARSET.search(source.data[:4096])):
        declared = match[1].decode("ascii", "replace")
    markup = whole(source.data, declared=declared).replace("\x00", "\ufffd")
    if not markup.strip():
        return
    _refuse_deep(markup)
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(markup)
    title, about, language = _about(tree)
    yield Draft([Piece(markdown(tree))], title=title, metadata=about, language_hint=language)


def _refuse_deep(markup: str) -> None:
    depth = 0
    for match in _TAGS.finditer(markup):
        name = match[3]
        if name and name.lower() not in _NEVER_OPEN:
            depth = max(0, depth - 1) if match[2] else depth + 1
            if depth > MAX_NESTED:
                raise SourceError("too_large", f"HTML with more than {MAX_NESTED:,} elements open at once")


def _about(tree: LexborHTMLParser) -> tuple[str, dict[str, MetadataValue], str]:
    """Title, metadata and declared language, from the head of the page."""
    named: dict[str, str] = {}
    for node in tree.css("meta[content]"):
        name = (node.attributes.get("name") or node.attributes.get("property") or "").lower()
        content = html.unescape(node.attributes.get("content") or "").strip()
        if name and content:
            named.setdefault(name, content)
    page = tree.css_first("title")
    title = " ".join(page.text().split()) if page else ""
    title = title or named.get("og:title", "")
    headings = [" ".join(node.text().replace("¶", "").split()) for node in tree.css("h1")]
    # "Installation - The Handbook": the heading alone is the page's own name.
    title = next((heading for heading in headings if heading and heading in title), title)
    link = tree.css_first("link[rel=canonical][href]")
    time = tree.css_first("article time[datetime], main time[datetime]")
    date = next((named[name] for name in _DATES if name in named), time and time.attributes.get("datetime"))
    root = tree.css_first("html[lang]")
    about: dict[object, object] = {
        "author": named.get("author") or named.get("article:author"),
        "date": date,
        "description": named.get("description") or named.get("og:description"),
        "canonical": link.attributes.get("href") if link else None,
    }
    return title, flat(about), language_code(root.attributes.get("lang") or "") if root else ""


def markdown(tree: LexborHTMLParser) -> str:
    """The tree's main text as Markdown; the tree is changed."""
    for node in tree.css("[role=tabpanel][hidden]"):
        del node.attrs["hidden"]  # a tab that is not open is part of the text
    _remove(tree.css(_NOISE))
    _remove(_surroundings(tree))
    for pre in tree.css("pre"):
        _name_language(pre)
    main = _main(tree)
    return convert(main.html or "" if main is not None else "")


def _remove(nodes: list[LexborNode]) -> None:
    """Take nodes out of the tree. A node inside another one is freed with it and must not be touched."""
    chosen = {node.mem_id for node in nodes}
    for node in [node for node in nodes if not any(above.mem_id in chosen for above in _above(node))]:
        node.decompose()


def _above(node: LexborNode) -> Iterator[LexborNode]:
    above = node.parent
    while above is not None:
        yield above
        above = above.parent


def _surroundings(tree: LexborHTMLParser) -> list[LexborNode]:
    """Page headers, sidebars, footers and consent banners; those inside the article itself are its own."""
    headings = len(tree.css("h1"))
    found = []
    for node in tree.css("header, aside, footer, div, section, form"):
        words = f"{node.attributes.get('id') or ''} {node.attributes.get('class') or ''}"
        if node.tag in ("header", "aside", "footer"):
            surrounds = not (node.tag == "header" and headings == 1 and node.css_first("h1"))
        else:
            surrounds = bool(_CONSENT.search(words)) and len(node.text()) < 2_000
        if surrounds and not any(above.tag in ("main", "article", "blockquote") for above in _above(node)):
            found.append(node)
    return found


def _main(tree: LexborHTMLParser) -> LexborNode | None:
    """``main`` or the one ``article`` when it holds a good part of the page's text, else the body."""
    body = tree.body or tree.root
    if body is None:
        return None
    size = len(body.text())
    for selector in ("main", "[role=main]", "article"):
        found = tree.css(selector)
        if len(found) == 1 and len(found[0].text()) >= size / 4:
            return found[0]
    return body


def _name_language(pre: LexborNode) -> None:
    """Give the code its ``language-x`` class from wherever the page's generator wrote it."""
    code = pre.css_first("code")
    near = [code, pre, pre.parent, pre.parent.parent if pre.parent is not None else None]
    for node in near:
        if node is None:
            continue
        found = _LANGUAGE.search(node.attributes.get("class") or "")
        language = (
            found[1] if found else node.attributes.get("data-lang") or node.attributes.get("lang") or ""
        )
        if node in (code, pre) or found:
            language = re.sub(r"[^\w+#-]", "", language)
            if language and language not in ("default", "none", "notranslate"):
                (code if code is not None else pre).attrs["class"] = f"language-{language}"
                return


def convert(markup: str) -> str:
    """HTML to Markdown as it stands. Raises SourceError ``too_large`` past 1,024 nested elements."""
    from html_to_markdown import ConversionOptions
    from html_to_markdown import convert as to_markdown

    options = ConversionOptions(
        bullets="-",
        compact_tables=True,
        extract_metadata=False,
        inline_data_media="alt_text_only",
        autolinks=False,
    )
    result = to_markdown(markup, options)
    for warning in result.warnings:
        if "depth" in str(warning.kind):
            raise SourceError("too_large", "HTML nested more than 1,024 elements deep")
    return result.content or ""
