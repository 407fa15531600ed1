"""Personal data in a text, replaced by tags before the text is kept: ``Llámame al [phone]``.

Built in, by name; Spanish and English forms. Where a form has a check digit (cards, IBAN, DNI) it decides,
so that an order number is not taken for one. What has none (a phone number) is told by how people write it.
No redactor finds everything: names, addresses and what is misspelt stay.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TypeAlias, get_args

Redactor: TypeAlias = Literal["email", "phone", "iban", "card", "dni", "ssn", "ip"]
"""``dni`` is the Spanish DNI and NIE, ``ssn`` the US social security and the UK national insurance number."""

REDACTORS: tuple[Redactor, ...] = get_args(Redactor)

_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_ACCOUNT = re.compile(r"(?<![^\W_])[A-Za-z]{2}[0-9]{2}(?:[ -]?[A-Za-z0-9]){11,38}")
_ACCOUNT_LENGTHS = (
    "NO15 BE16 DK18 FI18 NL18 SI19 AT20 EE20 LT20 LU20 CH21 HR21 LI21 LV21 BG22 DE22 GB22 IE22 AE23 GI23 "
    "IL23 AD24 CZ24 ES24 RO24 SA24 SE24 SK24 PT25 IS26 TR26 FR27 GR27 IT27 MC27 SM27 CY28 HU28 MA28 PL28 "
    "BR29 MT31"
)
"""Characters of an account by its country (registry of ISO 13616); others are told by the check alone."""
_LENGTHS = {entry[:2]: int(entry[2:]) for entry in _ACCOUNT_LENGTHS.split()}
_LONG_NUMBER = re.compile(r"(?<![\w.,])[0-9](?:[ -]?[0-9]){12,40}(?![\w])")
_DNI = re.compile(
    r"(?<![\w.])(?:[XYZxyz][ .-]?[0-9]{7}|[0-9]{8}|[0-9]{1,2}\.[0-9]{3}\.[0-9]{3})([ .-]?)([A-Za-z])(?!\w)"
)
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_DNI_TOLD = re.compile(r"\b(?:dni|nif|nie)\b[^\d\n]{0,12}$", re.IGNORECASE)
_SSN = re.compile(
    r"(?<![\w-])(?:(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}"
    r"|[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-NP-Za-np-z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-Da-d])(?![\w-])"
)
_IP = re.compile(r"(?<![\w:.])[0-9A-Fa-f:.]{3,45}(?![\w:])")
_PHONES = re.compile(
    r"(?<![\w.,/-])(?:"
    # +34 612 345 678, 0034612345678, +44 (0)20 7946 0958, +1 (555) 234-5678
    r"(?:\+|00)[1-9](?:[ .()/-]{0,2}[0-9]){7,13}"
    # Spain: 612 345 678, 612 34 56 78, 612345678, 91 123 45 67, (912) 345 678
    r"|[6-9][0-9]{2}([ .-]?)[0-9]{3}\1[0-9]{3}|[6-9][0-9]{2}([ .-]?)[0-9]{2}\2[0-9]{2}\2[0-9]{2}"
    r"|[89][0-9]([ .-])[0-9]{3}\3[0-9]{2}\3[0-9]{2}"
    r"|\([89][0-9]{1,2}\)[ -]?[0-9]{2,3}(?:[ .-]?[0-9]{2,3}){1,2}"
    # United States: (555) 234-5678, 555-234-5678, 5552345678, 1-800-555-1234
    r"|(?:1[ .-])?\([2-9][0-9]{2}\) ?[2-9][0-9]{2}[ .-]?[0-9]{4}"
    r"|(?:1[ .-])?[2-9][0-9]{2}([ .-]?)[2-9][0-9]{2}\4[0-9]{4}"
    # United Kingdom: 020 7946 0958, (020) 7946 0958, 07700 900123
    r"|\(?0[1-9][0-9]{1,3}\)?[ -]?[0-9]{3,4}[ -]?[0-9]{3,4}"
    r")(?![0-9]|[.,/-][0-9]|[ ]?(?:€|\$|£|%|(?:EUR|USD|GBP|euros?|dollars?|pounds?)\b))"
)
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"
    r"|(?<![\w-])(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,200}"
    r"|(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|hf_[A-Za-z0-9]{20,}"
    r"|xox[abeoprs]-[\w-]{10,}|AKIA[A-Z0-9]{16}|ASIA[A-Z0-9]{16}|AIza[\w-]{30,}|ya29\.[\w-]{20,})"
    r"|(?<![\w-])eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?<=://)[^\s/:@]{1,100}:[^\s/@]{1,200}(?=@)"
    r"|(?i:(?<=bearer )[\w.~+/=-]{12,})",
    re.DOTALL,
)


def redacted(text: str, names: Iterable[Redactor] = REDACTORS, *, secrets: Sequence[str] = ()) -> str:
    """The text with personal data of these kinds replaced by tags; keys and passwords always are.

    ``secrets`` are values that must never be kept, wherever they stand.

    >>> redacted("Soy Ana, 12345678Z, ana@example.org; mi móvil: 612 34 56 78.")
    'Soy Ana, [dni], [email]; mi móvil: [phone].'
    >>> redacted("card 4111 1111 1111 1111, order 4111 1111 1111 1112", ["card"])
    'card [card], order 4111 1111 1111 1112'
    """
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[secret]")
    text = _SECRETS.sub("[secret]", text)
    wanted = set(names)
    for name, redact in _BY_NAME.items():
        if name in wanted:
            text = redact(text)
    return text


def _emails(text: str) -> str:
    return _EMAIL.sub("[email]", text)


def _accounts(text: str) -> str:
    """Of each candidate the part that is an account: words behind it are no part of it."""
    parts: list[str] = []
    at = 0
    while match := _ACCOUNT.search(text, at):
        found = match[0]
        ends = [
            n for n in range(len(found), 14, -1) if not found[n : n + 1].isalnum() and _is_iban(found[:n])
        ]
        stop = match.start() + (ends[0] if ends else 2)
        parts += [text[at : match.start()], "[iban]" if ends else text[match.start() : stop]]
        at = stop
    return "".join([*parts, text[at:]])


def _is_iban(text: str) -> bool:
    """ISO 13616: the first four characters go behind, letters count from 10 on, the rest modulo 97 is 1."""
    plain = re.sub("[ -]", "", text).upper()
    if text[-1] in " -" or not 15 <= len(plain) <= 34 or len(plain) != _LENGTHS.get(plain[:2], len(plain)):
        return False
    return int("".join(str(int(c, 36)) for c in plain[4:] + plain[:4])) % 97 == 1


def _cards(text: str) -> str:
    return _LONG_NUMBER.sub(lambda match: _without_cards(match[0]), text)


def _without_cards(run: str) -> str:
    """A run of groups of digits without those that are a card's number: an expiry date may stand behind."""
    groups = list(re.finditer("[0-9]+", run))
    for first, group in enumerate(groups):
        if group[0][0] not in "23456":
            continue
        digits, found = "", 0
        for last in range(first, len(groups)):
            digits += groups[last][0]
            if len(digits) > 19:
                break
            if len(digits) >= 13 and _luhn(digits):
                found = groups[last].end()
        if found:
            return f"{run[: group.start()]}[card]{_without_cards(run[found:])}"
    return run


def _luhn(digits: str) -> bool:
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _dnis(text: str) -> str:
    def tag(match: re.Match[str]) -> str:
        letter = match[2].upper()
        digits = re.sub("[^0-9XYZ]", "", match[0][: match.start(2) - match.start()].upper())
        number = int(digits.translate(str.maketrans("XYZ", "012")))
        told = _DNI_TOLD.search(text, max(0, match.start() - 24), match.start())
        return "[dni]" if told or _DNI_LETTERS[number % 23] == letter else match[0]

    return _DNI.sub(tag, text)


def _ssns(text: str) -> str:
    return _SSN.sub("[ssn]", text)


def _phones(text: str) -> str:
    def tag(match: re.Match[str]) -> str:
        count = sum(character.isdigit() for character in match[0])
        return "[phone]" if 9 <= count <= 15 else match[0]

    return _PHONES.sub(tag, text)


def _addresses(text: str) -> str:
    def tag(match: re.Match[str]) -> str:
        found = match[0].rstrip(".")
        if ":" in found and (not re.search("[0-9]", found) or len(found.strip(":")) < 2):
            return match[0]
        try:
            ipaddress.ip_address(found)
        except ValueError:
            return match[0]
        return "[ip]" + match[0][len(found) :]

    return _IP.sub(tag, text)


_BY_NAME: dict[Redactor, Callable[[str], str]] = {
    # In this order: an account's number holds what looks like a card's, a card's what looks like a phone's.
    "email": _emails,
    "iban": _accounts,
    "card": _cards,
    "dni": _dnis,
    "ssn": _ssns,
    "ip": _addresses,
    "phone": _phones,
}
