"""Patterns and question words by language: what can be asked of a sentence, and how."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Fact:
    """A pattern whose group ``answer`` is the fact. The whole match is taken out of the sentence, and
    ``asked`` (filled with its named groups) is the question word that stands in for it."""

    pattern: re.Pattern[str]
    asked: str

    @property
    def subject(self) -> bool:
        """Whether the question word can be what the sentence speaks of, so that nothing changes places."""
        return self.asked.startswith(("how much", "what", "who ")) or "how many" in self.asked


@dataclass(frozen=True, slots=True)
class Wording:
    """How a language asks.

    ``hanging`` are first words that mean nothing without the sentence before, ``dropped`` is a first word
    whose subject is left out, ``linking`` what a sentence begins with and loses when it is alone; ``inner``
    are the only function words that a name may hold.
    """

    facts: tuple[Fact, ...]
    defined: re.Pattern[str]
    what: str
    who: str
    past: frozenset[str]
    reason: re.Pattern[str]
    why: str
    hanging: frozenset[str]
    dropped: re.Pattern[str]
    linking: re.Pattern[str]
    inner: frozenset[str]
    auxiliaries: frozenset[str]
    joints: frozenset[str]
    opening: str
    tell: tuple[str, ...]
    endings: frozenset[frozenset[str]]


_NAME = (
    r"[A-ZÁÉÍÓÚÑ][a-záéíóúñü'’]+"
    r"(?:[ -](?:(?:of|the|de|del|la|las|los|y)[ ]){0,2}[A-ZÁÉÍÓÚÑ][a-záéíóúñü'’]+){0,4}"
)
_NUMBER = r"\d[\d.,\u00a0]*\d|\d"


def _facts(*pairs: tuple[str, str]) -> tuple[Fact, ...]:
    return tuple(Fact(re.compile(pattern), asked) for pattern, asked in pairs)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _pairs(*endings: str) -> frozenset[frozenset[str]]:
    return frozenset(frozenset(ending.split("/")) for ending in endings)


# --- English ------------------------------------------------------------------------------------

_EN_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_EN_UNITS = r"(?:\s+(?:hundred|thousand|million|billion))?"
_EN_COUNT = rf"(?:{_NUMBER}|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|fifty){_EN_UNITS}"
_EN_ABOUT = r"(?:\b(?i:over|about|around|nearly|only|approximately|more than|at least)\s+)?"
_EN_PREP = "of|in|for|with|from|to|at|on|over|after|between|across|within"
# What may follow a name: the end of its phrase, not another noun that it only describes.
_EN_AFTER = (
    r"(?=\s*[,.;:)]|$|\s+(?:and|or|but|is|are|was|were|has|had|have|to|in|on|at|for|from|with|as|during|"
    r"after|before|until|when|where|who|which|because|since|while|by)\b)"
)

_EN = Wording(
    facts=_facts(
        (
            rf"\b(?:[Oo]n\s+|[Ii]n\s+)?(?P<answer>\d{{1,2}}\s+{_EN_MONTH}(?:,?\s+\d{{4}})?|"
            rf"{_EN_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?(?:\s*,?\s*\d{{4}})?)(?![\w-]),?",
            "when",
        ),
        (
            rf"\b(?P<prep>[Ii]n|[Ss]ince|[Uu]ntil|[Bb]y|[Dd]uring|[Ff]rom)\s+(?:{_EN_MONTH},?\s+)?"
            r"(?P<answer>1\d{3}|20\d\d)(?![\w-]),?",
            "{prep} what year",
        ),
        (
            rf"(?<![\w-]){_EN_ABOUT}(?P<answer>(?:US)?[$€£]\s?(?:{_NUMBER}){_EN_UNITS})(?![\w-])",
            "how much money",
        ),
        (
            rf"(?<![\w±–-]){_EN_ABOUT}(?P<answer>(?:{_NUMBER})\s?(?:%|percent\b|per\s+cent\b))(?:\s+(?P<of>of)\b)?",
            "what percentage {of}",
        ),
        (
            rf"(?:\b(?P<prep>{_EN_PREP})\s+|^|(?<=[a-z] )(?<![Tt]he )(?<!and ){_EN_ABOUT})"
            rf"(?P<answer>{_EN_COUNT})\s+"
            r"(?P<noun>(?:[a-z]{3,}\s)?(?:[a-z]{3,}[^s\W]s|people|men|women|children))\b(?!-)",
            "{prep} how many {noun}",
        ),
        (rf"(?<=[a-z](?:ed|en|wn|lt)\s)by\s+(?:the\s+)?(?P<answer>{_NAME}){_EN_AFTER}", "by whom"),
        (rf"\b(?:in|at|near)\s+(?:the\s+)?(?P<answer>{_NAME}){_EN_AFTER}", "where"),
        (
            rf"^(?P<answer>{_NAME})\s+(?P<verb>wrote|said|argued|founded|led|won|played|discovered|invented|"
            r"developed|proposed|built|designed|became|introduced|published)\b",
            "who {verb}",
        ),
    ),
    defined=re.compile(
        r"^(?P<article>The |An? |)(?P<name>[^,;:()]{3,60}?)\s+(?P<verb>is|are|was|were)\s+"
        r"(?P<answer>(?:an?|the|one of)\s.{15,})$"
    ),
    what="What {verb} {article}{name}?",
    who="Who {verb} {article}{name}?",
    past=_words("was"),
    reason=re.compile(
        r"^(?P<main>.{10,}?),?\s+(?P<answer>(?:because|due to|owing to|in order to|so that)\s.{10,})$"
    ),
    why="why",
    hanging=_words(
        """he she it they this these those that such his her its their there here both another however
        therefore thus moreover furthermore also then instead similarly additionally finally but and or so
        yet one some others following we our i my you your"""
    ),
    dropped=re.compile(r"(?!)"),
    linking=re.compile(
        r"^(?:However|Moreover|Furthermore|In addition|Additionally|Therefore|Thus|For example|Finally|"
        r"In contrast|As a result|Consequently|Nevertheless|Similarly|Indeed), (?=\w)"
    ),
    inner=_words("of the and for"),
    auxiliaries=_words("is are was were has have had can could will would may might must should does did"),
    joints=_words(
        """and but or of in on at to for from with by as that which who while where when because since after
        before during under over into than if"""
    ),
    opening="",
    tell=("tell me {}", "i want to know {}", "i am looking for {}"),
    endings=_pairs("/s", "/es", "y/ies"),
)

# --- Spanish ------------------------------------------------------------------------------------

_ES_MONTH = (
    "(?:enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|setiembre|octubre|noviembre|diciembre)"
)
_ES_UNITS = r"(?:\s+(?:mil millones|mil|millón|millones)(?:\s+de)?)?"
_ES_COUNT = (
    rf"(?:(?:{_NUMBER})|dos|tres|cuatro|cinco|seis|siete|ocho|nueve|diez|doce|veinte|cincuenta){_ES_UNITS}"
)
_ES_PREP = "de|en|para|con|desde|a|hacia|sobre|tras|entre|por|durante"
_ES_AFTER = (
    r"(?=\s*[,.;:)]|$|\s+(?:y|e|o|u|pero|es|son|fue|fueron|era|eran|ha|han|había|a|en|con|para|por|como|"
    r"durante|desde|hasta|cuando|donde|que|porque|mientras|se|no|tras|antes|después)\b)"
)

_ES = Wording(
    facts=_facts(
        (
            rf"\b(?:[Ee]l\s+|[Dd]el\s+|[Aa]l\s+)?(?:día\s+)?(?P<answer>\d{{1,2}}\s+de\s+{_ES_MONTH}"
            r"(?:\s+del?\s+\d{4})?)(?![\w-]),?",
            "cuándo",
        ),
        (
            rf"\b(?P<prep>[Ee]n|[Dd]esde|[Hh]asta|[Dd]urante)\s+(?:el\s+año\s+|{_ES_MONTH}\s+de\s+)?"
            r"(?P<answer>1\d{3}|20\d\d)(?![\w-]),?",
            "{prep} qué año",
        ),
        (
            rf"(?<![\w-])(?P<answer>(?:{_NUMBER}){_ES_UNITS}\s*(?:euros|dólares|pesos|libras|€|\$)|"
            rf"[$€£]\s?(?:{_NUMBER}){_ES_UNITS})(?!\w)",
            "cuánto dinero",
        ),
        (
            rf"(?<![\w±–-])(?:\b(?:[Ee]l|[Uu]n|[Dd]el|[Aa]l)\s+)?(?P<answer>(?:{_NUMBER})\s?"
            r"(?:%|por\s+ciento\b))(?:\s+(?P<of>del?)\b)?",
            "qué porcentaje {of}",
        ),
        (
            rf"(?:\b(?P<prep>{_ES_PREP})\s+|^|(?<=[a-záéíóúñ] )(?<! y )(?<! o ))(?:[Ll][oa]s\s+)?"
            rf"(?P<answer>{_ES_COUNT})\s+"
            r"(?P<noun>[a-záéíóúñ]{3,}s(?:\s[a-záéíóúñ]{3,}s)?)\b(?!-)",
            "{prep} cuánt{ending}s {noun}",
        ),
        (
            rf"(?<=[aiíe](?:do|da)\s|(?:dos|das|tos|tas)\s)por\s+(?:el\s+|la\s+)?(?P<answer>{_NAME}){_ES_AFTER}",
            "por quién",
        ),
        (rf"\b[Ee]n\s+(?:el\s+|la\s+|los\s+|las\s+)?(?P<answer>{_NAME}){_ES_AFTER}", "dónde"),
        (
            rf"^(?P<answer>{_NAME})\s+(?P<verb>escribió|dijo|fundó|ganó|descubrió|inventó|desarrolló|propuso|"
            r"dirigió|construyó|diseñó|publicó|introdujo|creó|afirmó)\b",
            "quién {verb}",
        ),
    ),
    defined=re.compile(
        r"^(?P<article>(?:El|La|Los|Las|Un|Una)\s|)(?P<name>[^,;:()]{3,60}?)\s+(?P<verb>es|son|fue|fueron|era|eran)\s+"
        r"(?P<answer>(?:un|una|el|la|los|las|unos|unas)\s.{15,})$"
    ),
    what="¿Qué {verb} {article}{name}?",
    who="¿Quién {verb} {article}{name}?",
    past=_words("fue era"),
    reason=re.compile(
        r"^(?P<main>.{10,}?),?\s+"
        r"(?P<answer>(?:porque|debido a|ya que|a causa de|con el fin de|para que|puesto que)\s.{10,})$"
    ),
    why="por qué",
    hanging=_words(
        """él ella ello ellos ellas esto este esta estos estas ese esa eso esos esas aquel aquella su sus lo
        ambos ambas otro otra otros otras es son fue era fueron eran tiene tuvo hay había se además sin
        también entonces así por pero y o sino luego finalmente según dicho dicha mismo allí aquí uno una
        nosotros nuestro nuestra yo mi tu"""
    ),
    dropped=re.compile(r"[a-záéíóúñ]+(?:ó|ía|ían|aba|aban|aron|ieron|uso|izo|ido|ado)$"),
    linking=re.compile(
        r"^(?:Sin embargo|Además|Por ejemplo|Por lo tanto|Por tanto|Así|Finalmente|Por último|En cambio|"
        r"No obstante|Asimismo|Por otra parte|Por otro lado|En consecuencia|De hecho), (?=\w)"
    ),
    inner=_words("de del la las los el y"),
    auxiliaries=frozenset(),
    joints=_words(
        """y e o u pero de del en a al para por con como que cual donde cuando porque mientras desde hasta
        durante tras antes después sobre entre si"""
    ),
    opening="¿",
    tell=("dime {}", "quiero saber {}", "busco {}"),
    endings=_pairs("/s", "/es", "o/a", "o/os", "a/as", "o/as", "a/os", "os/as", "z/ces"),
)

WORDINGS: Mapping[str, Wording] = MappingProxyType({"en": _EN, "es": _ES})
"""The languages in which sentences are turned into questions."""
