"""Handlebars' tree as the turns of a prompt: its helpers, paths and loops in Jinja's words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rag.prompts.exchange.draft import ROLES, Each, If, Names, Piece, Role, Text, Turn, Value, merged, refused
from rag.prompts.exchange.expressions import Path, expression_of, quoted
from rag.prompts.exchange.handlebars import Block, Comment, Content, Mustache, Node, parse

_LITERALS: Mapping[str, str] = {"true": "true", "false": "false", "null": "none", "undefined": "none"}
_SEGMENT = re.compile(r"\[([^\]]*)\]|([^./\[\]]+)")


@dataclass(slots=True)
class Reading:
    """What reading a body found out: the variables and how they are used, and what was left behind."""

    kinds: Mapping[str, str]
    """The kinds that the file declares, by foreign name."""
    names: Names = field(default_factory=Names)
    printed: set[str] = field(default_factory=set)
    tested: set[str] = field(default_factory=set)
    looped: set[str] = field(default_factory=set)
    entered: set[str] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    _loops: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    # --- turns ---------------------------------------------------------------------------------

    def turns(self, source: str, *, first_line: int) -> tuple[Turn, ...]:
        """The messages of a dotprompt body. Raises InvalidTemplate, with the line."""
        role: Role = "user"
        found: list[tuple[Role, list[Piece]]] = [(role, [])]
        for node in parse(source, first_line=first_line):
            if isinstance(node, Mustache) and node.words[0] in ("role", "history"):
                role = self._role(node)
                if any(not isinstance(piece, Text) or piece.text.strip() for piece in found[-1][1]):
                    found.append((role, []))
                else:
                    found[-1] = (role, [])
            else:
                found[-1][1].extend(self._pieces([node]))
        return tuple(Turn(role, merged(pieces)) for role, pieces in found if merged(pieces))

    def _role(self, node: Mustache) -> Role:
        if node.words[0] == "history":
            self.lost.append(f"line {node.line}: {{{{history}}}}: a prompt here holds no earlier messages")
            return "assistant"
        named = node.words[1].strip("\"'") if len(node.words) > 1 else ""
        if named not in ROLES:
            raise refused(
                node.line, f"the role {named!r} is not taken over; there are system, user and model"
            )
        if node.words[2:]:
            self.lost.append(f"line {node.line}: what {{{{role}}}} says beside the role: {node.words[2]} …")
        return ROLES[named]

    def _pieces(self, nodes: Sequence[Node]) -> list[Piece]:
        found: list[Piece] = []
        for node in nodes:
            if isinstance(node, Content):
                found.append(Text(node.value))
            elif isinstance(node, Mustache):
                found.extend(self._mustache(node))
            elif isinstance(node, Block):
                found.append(self._block(node))
            else:
                assert isinstance(node, Comment)  # noqa: S101  # nothing of it is in the prompt
        return found

    # --- tags ----------------------------------------------------------------------------------

    def _mustache(self, node: Mustache) -> list[Piece]:
        word, rest, line = node.words[0], node.words[1:], node.line
        if word in ("role", "history"):
            raise refused(
                line, f"{{{{{word}}}}} within a block: the roles of a prompt here are the same for all values"
            )
        if word == "media":
            self.lost.append(f"line {line}: {{{{media}}}}: a prompt here is text")
            return []
        if word == "section":
            self.lost.append(f"line {line}: {{{{section {' '.join(rest)}}}}}: nothing here fills sections in")
            return []
        if word == "json" and len(rest) == 1:
            self.lost.append(f"line {line}: {{{{json}}}} puts no space after a comma or a colon; tojson does")
            return [Value(f"{self._value(rest[0], line)} | tojson", line)]
        if rest:
            raise refused(line, f"the helper {{{{{' '.join(node.words)}}}}} is not taken over")
        expression = self._value(word, line, printed=True)
        kind = self._kind(word)
        if kind == "boolean":
            expression += " | string | lower"  # as JavaScript prints it
        elif kind == "array":
            expression += ' | join(",")'
        elif kind == "object":
            raise refused(
                line, f"{{{{{word}}}}} prints an object as [object Object]; print one of its values"
            )
        return [Value(expression, line)]

    def _block(self, node: Block) -> Piece:
        word, rest, line = node.words[0], node.words[1:], node.line
        if word in ("if", "unless") and len(rest) == 1:
            test = self._condition(rest[0], line)
            if word == "unless":
                test = f"not ({test})" if " " in test else f"not {test}"
            return self._if(node, test)
        if word in ("ifEquals", "unlessEquals") and len(rest) == 2:
            sign = "==" if word == "ifEquals" else "!="
            return self._if(node, f"{self._value(rest[0], line)} {sign} {self._value(rest[1], line)}")
        if word == "each" and rest and (len(rest) == 1 or rest[1:2] == ["as"]):
            return self._each(node)
        raise refused(
            line, f"{{{{#{' '.join(node.words)}}}}} is not taken over; if, unless, each and ifEquals are"
        )

    def _if(self, node: Block, test: str) -> If:
        branches = [(test, merged(self._pieces(node.body)))]
        otherwise = merged(self._pieces(node.inverse or []))
        if node.chained and len(otherwise) == 1 and isinstance(otherwise[0], If):
            branches.extend(otherwise[0].branches)
            otherwise = otherwise[0].otherwise
        return If(tuple(branches), otherwise, node.line)

    def _each(self, node: Block) -> Each:
        named = node.words[3].strip("|").split() if len(node.words) > 3 else []
        path = self._path(node.words[1], node.line)
        if len(path) == 1 and not self._loops:
            self.looped.add(str(path[0]))
        if self._kind(node.words[1]) == "object":
            raise refused(
                node.line, f"{{{{#each {node.words[1]}}}}} goes over an object; an array can be gone over"
            )
        item = self.names.keep("item")
        aliases = dict(zip(named, (item, "loop.index0"), strict=False))
        self._loops.append((item, aliases))
        body = merged(self._pieces(node.body))
        self._loops.pop()
        otherwise = merged(self._pieces(node.inverse or []))
        return Each(item, expression_of(path), body, otherwise, node.line)

    # --- expressions ---------------------------------------------------------------------------

    def _condition(self, word: str, line: int) -> str:
        if word in _LITERALS or not self._is_path(word):
            return self._value(word, line)
        path = self._path(word, line)
        if len(path) == 1 and not self._loops:
            self.tested.add(str(path[0]))
        expression = expression_of(path)
        return expression if len(path) == 1 else f"{expression} is defined and {expression}"

    def _value(self, word: str, line: int, *, printed: bool = False) -> str:
        if word[0] in "\"'":
            return quoted(word[1:-1].replace(f"\\{word[0]}", word[0]))
        if re.fullmatch(r"-?\d+(\.\d+)?", word):
            return word
        if word in _LITERALS:
            return _LITERALS[word]
        if word.startswith("@"):
            known = {"@index": "loop.index0", "@first": "loop.first", "@last": "loop.last"}
            if word not in known or not self._loops:
                raise refused(line, f"{word} is not taken over; @index, @first and @last within #each are")
            return known[word]
        path = self._path(word, line)
        if printed and len(path) == 1:
            self.printed.add(str(path[0]))
        return "loop.index0" if path == ("loop.index0",) else expression_of(path)

    def _is_path(self, word: str) -> bool:
        return word[0] not in "\"'@" and not re.fullmatch(r"-?\d+(\.\d+)?", word)

    def _kind(self, word: str) -> str:
        return "" if self._loops else self.kinds.get(word.removeprefix("this."), "")

    def _path(self, word: str, line: int) -> Path:
        depth = 0
        rest = word
        while re.match(r"\.\.(/|\Z)", rest):
            depth, rest = depth + 1, rest[3:]
        if depth > len(self._loops) or "=" in word or "(" in word:
            raise refused(line, f"{word} is not taken over")
        rest = re.sub(r"\A(this|\.)(?=[./]|\Z)[./]?", "", rest)
        steps: list[str | int] = []
        for found in _SEGMENT.finditer(rest):
            step = found[1] if found[1] is not None else found[2]
            steps.append(int(step) if steps and step.isdigit() else step)
        at = len(self._loops) - depth
        plain = rest == word
        if plain and steps:  # block parameters are seen from any depth
            for _, aliases in reversed(self._loops):
                if steps[0] in aliases:
                    return (aliases[str(steps[0])], *steps[1:])
        if at:
            return (self._loops[at - 1][0], *steps)
        if not steps:
            raise refused(line, f"{word} stands for all variables together; name one")
        name = self.names.of(str(steps[0]))
        if len(steps) > 1:
            self.entered.add(name)
        return (name, *steps[1:])
