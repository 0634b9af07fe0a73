"""What is wrong with a described call, found by ``verifier config check`` and not at night.

A fault is the key it stands at, below the call's table, and a sentence. Found are: templates that
are none or name what there is not; the three elements not all sent; credentials written into the
file; personal data in the URL or bare in a header; a signature that proves nothing; and what
:mod:`.generic_code_faults` finds in the tables of codes.

*Personal data in a URL* is judged from the template alone: a phone, a name or an ID number may
stand in ``query`` only inside a digest that a secret goes into as well. A bare digest does not
count: there are 10^10 phones, and a table of their MD5s is a day's work. Whatever else goes into a
URL is the operator's decision, ``allow_personal_data_in_url = true``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from verifier.carriers import templates
from verifier.carriers.generic_call import Call, Signature
from verifier.carriers.generic_code_faults import Fault, Where, code_faults
from verifier.carriers.templates import Template, TemplateFault
from verifier.outcomes import Check

PHONE: Final = frozenset({"phone", "phone_e164"})
PERSONAL: Final = PHONE | {"name", "id_number"}
SINCE: Final = frozenset({"since", "since_compact"})
OURS: Final = frozenset({"reference", "timestamp", "timestamp_ms", "date", "nonce"})
_MOST_DEEP: Final = 5

_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
_PRINTABLE: Final = re.compile(r"[\x20-\x7e]*")
#: The transport's own, or what would change how the request is framed.
_NOT_OURS_TO_SET: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
#: A name that ends with one of these holds what should stand in a secret.
_CREDENTIALS: Final = frozenset(
    {"apikey", "appkey", "auth", "authorization", "cookie", "credential", "key", "password"}
    | {"pwd", "secret", "token", "appsecret", "appcode"}
)


def variables(check: Check | None) -> frozenset[str]:
    """What the templates of a call may use, beside ``secret.NAME``."""
    if check is None:
        return PERSONAL | OURS
    return PHONE | OURS | (SINCE if check is Check.RECYCLED else frozenset())


def faults(call: Call, secrets: frozenset[str], check: Check | None) -> Iterator[Fault]:
    """Everything that is wrong with a call; ``secrets``: the names that the provider declares."""
    request = _Request(call, secrets, check)
    yield from request.faults()
    yield from code_faults(call, check)


class _Request:
    """What is sent. ``_sent`` gathers the variables that reach the vendor, digested or not."""

    def __init__(self, call: Call, secrets: frozenset[str], check: Check | None) -> None:
        self._call = call
        self._secrets = secrets
        self._check = check
        self._sent: set[str] = set()

    def faults(self) -> Iterator[Fault]:
        call, broken = self._call, False
        places: list[tuple[Where, Any]] = [
            *((("headers", name), source) for name, source in call.headers.items()),
            *((("query", name), source) for name, source in call.query.items()),
        ]
        try:
            places += [(("body", *where), leaf) for where, leaf in _leaves(call.body, ())]
        except ValueError as error:
            broken = True
            yield ("body",), str(error)
        if call.method == "GET" and call.body:
            yield ("body",), "a GET has no body: use query"
        if call.format == "form":
            yield from (
                (("body", name), "a form has no tables")
                for name, leaf in call.body.items()
                if isinstance(leaf, dict)
            )
        yield from self._header_names()
        for where, leaf in places:
            fault = self._leaf(where, leaf)
            if fault is not None:
                broken = True
                yield where, fault
        if call.signature is not None:
            yield from self._signature(call.signature)
        if not broken:
            yield from self._unsent()

    def _header_names(self) -> Iterator[Fault]:
        seen: set[str] = set()
        for name in self._call.headers:
            if _HEADER.fullmatch(name) is None:
                yield ("headers", name), "is no name of a header"
            elif name.lower() in _NOT_OURS_TO_SET:
                yield ("headers", name), "is set by the transport"
            elif name.lower() in seen:
                yield ("headers", name), "stands here twice"
            seen.add(name.lower())

    def _leaf(self, where: Where, leaf: Any) -> str | None:
        if isinstance(leaf, bool | int):
            if _is_credential(where[-1]):
                return _WRITTEN_DOWN
            return None if abs(leaf) < 2**53 else "is too large a number"
        if not isinstance(leaf, str):
            return "must be a template, a whole number, a truth value or a table"
        try:
            template = templates.parse(leaf, variables(self._check), self._secrets)
        except TemplateFault as fault:
            return str(fault)
        self._sent |= template.names
        # A header may be named for a key of ours, such as Idempotency-Key; Authorization may not.
        ours = template.uses and (where[0] != "headers" or _last_word(where[-1]) == "key")
        if _is_credential(where[-1]) and not template.secrets and not ours:
            return _WRITTEN_DOWN
        match where[0]:
            case "headers":
                return _header_fault(template)
            case "query" if not self._call.allow_personal_data_in_url:
                return _url_fault(template)
        return None

    def _signature(self, signature: Signature) -> Iterator[Fault]:
        where = ("signature",)
        extra = {"sorted_parameters"} | (set() if signature.place == "field" else {"body"})
        try:
            over = templates.parse(signature.over, variables(self._check) | extra, self._secrets)
        except TemplateFault as fault:
            yield (*where, "over"), str(fault)
            return
        if not over.uses:
            yield (*where, "over"), "covers nothing of the request: name {{ sorted_parameters }}"
        if signature.is_hmac and signature.key is None:
            yield (*where, "key"), f"is missing: {signature.algorithm} needs the name of a secret"
        if signature.key is not None and signature.key not in self._secrets:
            yield (*where, "key"), "names a secret that the table of secrets lacks"
        if not signature.is_hmac:
            if signature.key is not None:
                yield (
                    (*where, "key"),
                    f"{signature.algorithm} has none: put {{{{ secret.NAME }}}} into over, where "
                    "the vendor wants it",
                )
            if signature.algorithm not in templates.DIGESTS:
                yield (*where, "algorithm"), "is not built into this Python's OpenSSL"
            if not over.secrets:
                yield (*where, "over"), "anybody could make it: it needs a secret.NAME"
        if signature.encoding == "base64" and signature.case == "upper":
            yield (*where, "case"), "base64 has no case"
        if any(isinstance(leaf, dict) for leaf in self._call.body.values()) and (
            "sorted_parameters" in over.names
        ):
            yield (*where, "over"), "sorted_parameters are of a flat body, and this one has tables"
        yield from self._signature_place(signature)

    def _signature_place(self, signature: Signature) -> Iterator[Fault]:
        where, call = ("signature", "name"), self._call
        match signature.place:
            case "field":
                if call.method == "GET":
                    yield ("signature", "place"), "a GET has no body: header or query"
                taken = signature.name in call.body
            case "query":
                taken = signature.name in call.query
            case "header":
                lowered = signature.name.lower()
                taken = lowered in {name.lower() for name in call.headers}
                if _HEADER.fullmatch(signature.name) is None or lowered in _NOT_OURS_TO_SET:
                    yield where, "is no name of a header that may be set"
        if taken:
            yield where, "stands in the call already"

    def _unsent(self) -> Iterator[Fault]:
        """An API that is not told a name answers about the number alone, and says "match"."""
        wanted: list[tuple[str, frozenset[str]]] = [("the phone", PHONE)]
        if self._check is None:
            wanted += [
                ("the name", frozenset({"name"})),
                ("the ID number", frozenset({"id_number"})),
            ]
        elif self._check is Check.RECYCLED:
            wanted.append(("the day (since)", SINCE))
        for what, names in wanted:
            if not names & self._sent:
                yield ("query" if self._call.method == "GET" else "body",), f"{what} is never sent"


_WRITTEN_DOWN: Final = (
    "holds a credential: name it in the table of secrets, and write {{ secret.NAME }} here"
)


def _is_credential(name: str) -> bool:
    return _last_word(name) in _CREDENTIALS


def _last_word(name: str) -> str:
    words: list[str] = _WORD.findall(name)
    return words[-1].lower() if words else ""


def _header_fault(template: Template) -> str | None:
    if not all(_PRINTABLE.fullmatch(text) for text in template.literals):
        return "a header is printable ASCII"
    for use in template.uses:
        if use.name in PERSONAL and not templates.TO_ASCII.intersection(use.filters):
            return f"{use.name} in a header must be a digest, base64 or urlencode"
    return None


def _url_fault(template: Template) -> str | None:
    for use in template.uses:
        if use.name in PERSONAL and not use.is_keyed:
            digest = templates.DIGESTS.keys() & set(use.filters)
            what = f"a digest of {use.name}, which anybody can look up," if digest else use.name
            return (
                f"puts {what} into the URL, which proxies and logs keep: use the body, or "
                "hmac_sha256(secret.NAME); if the vendor leaves no choice, "
                "allow_personal_data_in_url = true"
            )
    return None


def _leaves(table: dict[str, Any], where: Where) -> Iterator[tuple[Where, Any]]:
    if len(where) >= _MOST_DEEP:
        raise ValueError(f"has tables more than {_MOST_DEEP} deep")
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*where, name))
        else:
            yield (*where, name), value
