"""Text from outside on its way into a prompt: without what a person cannot see or a tokenizer obeys.

A stored text stays as it is; this is what the model gets of it. Three things are changed, and nothing else:

- Hidden text. The tag characters (U+E0000 to U+E007F) spell sentences that no screen shows, and so do long
  runs of characters without width (zero-width spaces and joiners, soft hyphens, variation selectors, …). Each
  run becomes one U+FFFD. A joiner or two stays: Persian, Hindi and emoji are written with them.
- Bidi embeddings, overrides and isolates, which show a person another order than the model reads. Each
  becomes U+FFFD. The marks (U+200E, U+200F, U+061C) stay.
- Markers of chat templates: ``<|im_start|>``, ``[INST]``, ``<start_of_turn>``, ``</s>``, … Many local servers
  write the messages into one text and read such a marker in it as the control token, whoever wrote it: it
  would end the user's message and open another. A space goes behind its first sign, which every reader
  understands and no tokenizer takes for the token. In code the space is harmless (``Vec< s>``).
"""

from __future__ import annotations

import re

MAX_INVISIBLE = 2
"""Characters without width in a row that writing needs: an emoji's variation selector and its joiner."""

_BIDI = "\u202a-\u202e\u2066-\u2069"
_TAGS = "\U000e0000-\U000e007f"
_INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u2065\u206a-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0080-\U000e0fff"
)
_SUSPECT = re.compile(f"[{_BIDI}{_TAGS}{_INVISIBLE}]")
_ASCII = bytes(range(128))
_HIDDEN = re.compile(
    f"[{_BIDI}]|[{_TAGS}{_INVISIBLE}]*[{_TAGS}][{_TAGS}{_INVISIBLE}]*|[{_INVISIBLE}]{{{MAX_INVISIBLE + 1},}}"
)

_WORDS = "|".join(
    (
        # Llama 2, Mistral, T5, RWKV and what is fine-tuned from them
        *("s", "/s", "unk", "pad", "mask", "bos", "eos", "sop", "eop", "cls", "sep"),
        # Gemma
        *("start_of_turn", "end_of_turn", "start_of_image", "end_of_image"),
        # Qwen, DeepSeek, Hermes: what a tool said, what the model thought
        *("/?think", "/?tool_call", "/?tool_response", "/?tools", "/?tool_result"),
    )
)
_BRACKETED = "|".join(
    (
        *("/?INST", "/?SYSTEM_PROMPT", "/?AVAILABLE_TOOLS", "/?TOOL_RESULTS", "TOOL_CALLS", "TOOL_CONTENT"),
        *("/?THINK", "ARGS", "CALL_ID", "IMG", "IMG_BREAK", "IMG_END", "BEGIN_AUDIO", "AUDIO", "gMASK"),
        *("PREFIX", "MIDDLE", "SUFFIX", "UNK", "CLS", "SEP", "PAD", "MASK", "BOS", "EOS"),
    )
)
_ANGLE = re.compile(rf"<(?=[|｜][\w▁./:-]{{1,60}}[|｜][>＞]|(?:{_WORDS})[>＞]|</?SYS>>)")
_WIDE = re.compile(_ANGLE.pattern.replace("<", "＜", 1))
_SQUARE = re.compile(rf"\[(?=(?:{_BRACKETED})\])")
_MARKERS = (_ANGLE, _WIDE, _SQUARE)
"""Each matches the first sign of a marker and looks at the rest. A pattern that begins with one sign skips
ordinary text several times quicker than one for all of them."""


def neutral(text: str) -> str:
    """``text`` as it may stand in a prompt. Law: ``neutral(neutral(text)) == neutral(text)``.

    >>> neutral("<|im_end|> [/INST] a < b, x[0]")
    '< |im_end|> [ /INST] a < b, x[0]'
    >>> neutral("see" + "".join(chr(0xE0000 + ord(c)) for c in "obey me") + " me\\u202e!")
    'see\\ufffd me\\ufffd!'
    """
    return without_markers(visible(text))


def visible(text: str) -> str:
    """``text`` without what a person cannot see; markers stay.

    >>> visible("me\\u202e!")
    'me\\ufffd!'
    """
    if not text.isascii() and _SUSPECT.search(_beyond_ascii(text)):
        text = _HIDDEN.sub("\ufffd", text)
    return text


def _beyond_ascii(text: str) -> str:
    """Its other characters alone: in most texts few, so that looking at them takes a tenth of the time."""
    return text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass")


def without_markers(text: str, *, but: frozenset[str] = frozenset()) -> str:
    """A space in each marker of a chat template, ``but`` in those named here (as :func:`markers` does)."""
    for pattern in _MARKERS:
        if but:
            text = pattern.sub(lambda found: found[0] if _whole(found) in but else f"{found[0]} ", text)
        else:
            text = pattern.sub(r"\g<0> ", text)
    return text


def markers(text: str) -> frozenset[str]:
    """The markers of chat templates that stand in a text.

    >>> sorted(markers("[INST] hi <|eot_id|>"))
    ['<|eot_id|>', '[INST]']
    """
    return frozenset(_whole(found) for pattern in _MARKERS for found in pattern.finditer(text))


_END = re.compile(r"[|｜][>＞]|>>|[>＞]|\]")


def _whole(found: re.Match[str]) -> str:
    end = _END.search(found.string, found.end() + 1)
    return found.string[found.start() : end.end() if end else len(found.string)]
