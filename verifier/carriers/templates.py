"""Text with ``{{ }}`` in it, for providers of kind ``generic``: expressions, checked beforehand.

Jinja2 parses and renders, in its immutable sandbox, without a loader, globals or tests, and with
undefined names as errors. That is the second lock. The first is here: of everything the language
has, a template may use

* variables of a closed list, and ``secret.NAME`` for the secrets that the table declares;
* texts in quotes, and ``~`` to join;
* filters of a closed list, at most :data:`MOST_FILTERS` deep. Only the HMACs take an argument, and
  only a secret.

No statement, call, loop, test, arithmetic, index or other attribute passes, so nothing can be
reached and nothing can grow: a rendered text is at most a few times as long as what goes in. What
passed can fail on no person, but for text that has no UTF-8 (a lone surrogate): UnicodeEncodeError.

Jinja2 is imported when the first template is read; ConfigError says how to install it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from verifier.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_SOURCE: Final = 500  # characters; the longest template seen in a vendor's document has 90
MOST_FILTERS: Final = 5  # base64 makes a text a third longer each time
_MOST_PARENTHESES: Final = 10  # the parser recurses

#: The one variable that has attributes.
SECRET: Final = "secret"  # noqa: S105

Render = Callable[[Mapping[str, Any]], str]


class TemplateFault(ValueError):
    """Why a template is refused, in words that may be shown."""


@dataclass(frozen=True, slots=True)
class Use:
    """A variable in a template and the filters it passes, outermost first.

    ``is_keyed``: it goes into a digest together with a secret, so that nobody else can look it up.
    """

    name: str
    filters: tuple[str, ...]
    is_keyed: bool


@dataclass(frozen=True, slots=True)
class Template:
    """A template that passed. ``literals``: the texts of its own; ``secrets``: whose it needs."""

    source: str
    uses: tuple[Use, ...]
    literals: tuple[str, ...]
    secrets: frozenset[str]

    @property
    def names(self) -> frozenset[str]:
        return frozenset(use.name for use in self.uses)


def _digest(algorithm: str, value: str) -> str:
    return hashlib.new(algorithm, value.encode(), usedforsecurity=False).hexdigest()


def _hmac(algorithm: str, value: str, key: str) -> str:
    return hmac.digest(key.encode(), value.encode(), algorithm).hex()


#: SM3 needs an OpenSSL that was built with it.
DIGESTS: Final = {
    name: partial(_digest, name)
    for name in ("md5", "sha1", "sha256", "sm3")
    if name in hashlib.algorithms_available
}
HMACS: Final = {"hmac_sha1": partial(_hmac, "sha1"), "hmac_sha256": partial(_hmac, "sha256")}
#: Whose output is ASCII whatever goes in.
TO_ASCII: Final = frozenset({*DIGESTS, *HMACS, "base64", "urlencode"})
_FILTERS: Final[dict[str, Callable[..., str]]] = {
    **DIGESTS,
    **HMACS,
    "base64": lambda value: base64.b64encode(value.encode()).decode(),
    "urlencode": lambda value: quote(value, safe=""),
    "upper": str.upper,
    "lower": str.lower,
}


def parse(source: str, variables: Collection[str], secrets: Collection[str]) -> Template:
    """The template, if it is one that may be used. Raises TemplateFault, or ConfigError for want of
    Jinja2."""
    if len(source) > MOST_SOURCE:
        raise TemplateFault(f"is longer than {MOST_SOURCE} characters")
    if "{%" in source or "{#" in source:
        raise TemplateFault("may hold {{ }} only, neither {% %} nor {# #}")
    if "{{" not in source:
        return Template(source, (), (source,), frozenset())
    if "\\" in source:
        raise TemplateFault(r"may hold no \ beside {{ }}")
    if source.count("(") > _MOST_PARENTHESES:
        raise TemplateFault(f"has more than {_MOST_PARENTHESES} parentheses")
    walk = _Walk(variables, secrets)
    uses = tuple(walk.template(_parsed(source)))
    _compiled(source)
    return Template(source, uses, tuple(walk.literals), frozenset(walk.secrets))


def renderer(source: str) -> Render:
    """What renders a template that :func:`parse` let pass, from the values of its variables."""
    if "{{" not in source:
        return lambda _values: source
    return _compiled(source)


def _parsed(source: str) -> nodes.Template:
    environment = _environment()
    from jinja2 import TemplateError

    try:
        return environment.parse(source)
    except TemplateError as error:
        raise TemplateFault(f"is no template: {error.message}") from None
    except (RecursionError, ValueError, OverflowError, SyntaxError):
        raise TemplateFault("is no template") from None


@lru_cache(maxsize=512)
def _compiled(source: str) -> Render:
    render: Render = _environment().from_string(source).render
    return render


@cache
def _environment() -> ImmutableSandboxedEnvironment:
    try:
        from jinja2 import StrictUndefined
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise ConfigError(
            "A provider of kind generic needs Jinja2, which is not installed.",
            fix="pip install 'verifier[generic]'",
        ) from error
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, cache_size=0
    )
    environment.globals.clear()
    environment.tests.clear()
    environment.filters.clear()
    environment.filters.update(_FILTERS)
    return environment


class _Walk:
    """Over a syntax tree whose every node must be one of the few that are known here."""

    def __init__(self, variables: Collection[str], secrets: Collection[str]) -> None:
        self._variables = variables
        self._known_secrets = secrets
        self.literals: list[str] = []
        self.secrets: set[str] = set()

    def template(self, root: nodes.Template) -> Iterator[Use]:
        from jinja2 import nodes

        for output in root.body:
            if not isinstance(output, nodes.Output):
                raise TemplateFault("may hold expressions only")
            for node in output.nodes:
                yield from self._expression(node, (), is_keyed=False)

    def _expression(
        self, node: nodes.Node, filters: tuple[str, ...], *, is_keyed: bool
    ) -> Iterator[Use]:
        from jinja2 import nodes

        match node:
            case nodes.TemplateData():
                self.literals.append(node.data)
            case nodes.Const(value=str() as text):
                self.literals.append(text)
            case nodes.Concat():
                for part in node.nodes:
                    yield from self._expression(part, filters, is_keyed=is_keyed)
            case nodes.Name(name=name) if name in self._variables:
                yield Use(name, filters, is_keyed)
            case nodes.Name(name=name):
                if name == SECRET:
                    raise TemplateFault("names no secret: write secret.NAME")
                known = ", ".join(sorted(self._variables))
                raise TemplateFault(f"knows no variable {name[:40]!r}; there are {known}, secret")
            case nodes.Getattr(node=nodes.Name(name=name), attr=attr) if name == SECRET:
                self._secret(attr)
            case nodes.Filter():
                yield from self._filter(node, filters, is_keyed=is_keyed)
            case _:
                raise TemplateFault(
                    "may use variables, texts in quotes, ~ and filters only, not "
                    f"{type(node).__name__}"
                )

    def _filter(
        self, node: nodes.Filter, filters: tuple[str, ...], *, is_keyed: bool
    ) -> Iterator[Use]:
        if node.name not in _FILTERS:
            known = ", ".join(sorted(_FILTERS))
            raise TemplateFault(f"knows no filter {node.name[:40]!r}; there are {known}")
        if len(filters) == MOST_FILTERS:
            raise TemplateFault(f"has more than {MOST_FILTERS} filters in a row")
        if node.node is None or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise TemplateFault(f"gives {node.name} what it does not take")
        if len(node.args) != (1 if node.name in HMACS else 0):
            takes = "one secret: (secret.NAME)" if node.name in HMACS else "nothing"
            raise TemplateFault(f"gives {node.name} what it does not take: it takes {takes}")
        for key in node.args:
            self._key(key, node.name)
        keyed = is_keyed or node.name in HMACS
        before, self.secrets = self.secrets, set()
        inside = list(self._expression(node.node, (*filters, node.name), is_keyed=keyed))
        if self.secrets and node.name in DIGESTS:
            inside = [Use(use.name, use.filters, is_keyed=True) for use in inside]
        self.secrets |= before
        yield from inside

    def _key(self, node: nodes.Expr, filter_name: str) -> None:
        from jinja2 import nodes

        match node:
            case nodes.Getattr(node=nodes.Name(name=name), attr=attr) if name == SECRET:
                self._secret(attr)
            case _:
                raise TemplateFault(f"the key of {filter_name} must be a secret: secret.NAME")

    def _secret(self, name: str) -> None:
        if name not in self._known_secrets:
            raise TemplateFault(f"names secret.{name[:40]}, which the table of secrets lacks")
        self.secrets.add(name)
