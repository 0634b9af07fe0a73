"""Templates: what the checks let pass can neither fail nor reach anything; the rest is refused."""

from __future__ import annotations

import hashlib
import hmac
import sys
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifier.carriers import templates
from verifier.carriers.templates import MOST_SOURCE, TemplateFault, parse, renderer
from verifier.errors import ConfigError

VARIABLES = frozenset({"phone", "name", "id_number", "nonce"})
SECRETS = frozenset({"app_key", "items"})
HOSTILE = [
    "{{ phone.__class__ }}",
    "{{ phone.__class__.__mro__[1].__subclasses__() }}",
    "{{ phone['__class__'] }}",
    "{{ phone|attr('__class__') }}",
    "{{ secret.__class__ }}",
    "{{ secret.app_key.__class__ }}",
    "{{ secret['app_key'] }}",
    "{{ secret.keys() }}",
    "{{ secret }}",
    "{{ secret.other }}",
    "{{ phone.upper }}",
    "{{ phone.format(phone) }}",
    "{{ '%s' % phone }}",
    "{{ 'x' * 1000000000 }}",
    "{{ phone * 9 }}",
    "{{ 9 ** 9 ** 9 }}",
    "{{ phone + name }}",
    "{{ range(1000000000) }}",
    "{{ range(9)|list }}",
    "{{ lipsum() }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ config }}",
    "{{ namespace() }}",
    "{{ phone[0] }}",
    "{{ phone[:3] }}",
    "{{ [phone] }}",
    "{{ {'a': phone} }}",
    "{{ (phone, name) }}",
    "{{ phone if name else name }}",
    "{{ phone is defined }}",
    "{{ phone == name }}",
    "{{ not phone }}",
    "{{ -phone }}",
    "{{ phone or name }}",
    "{{ 1 }}",
    "{{ true }}",
    "{{ none }}",
    "{{ phone|center(1000000000) }}",
    "{{ phone|replace('1', phone) }}",
    "{{ phone|safe }}",
    "{{ phone|upper(phone) }}",
    "{{ phone|upper(a=1) }}",
    "{{ phone|md5(*name) }}",
    "{{ phone|hmac_sha256 }}",
    "{{ phone|hmac_sha256('a key that stands in the file') }}",
    "{{ phone|hmac_sha256(phone) }}",
    "{{ phone|hmac_sha256(secret.app_key, secret.app_key) }}",
    "{{ phone" + "|base64" * 6 + " }}",
    "{{ phone ~ (name" + "|urlencode" * 6 + ") }}",
    "{{ phonee }}",
    "{{ phone }",
    "{{ phone }} }} {{",
    "{{ }}",
    "{{ phone|nosuch }}",
    "{{ phone name }}",
    "{% for a in phone %}{{ a }}{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{% set phone = name %}",
    "{%- raw %}{{ phone }}{% endraw %}",
    "{# {{ phone }} #}",
    r"{{ '\x0d\x0a' }}",
    r"\{{ phone }}",
    "{{ " + "(" * 11 + "phone" + ")" * 11 + " }}",
    "{{ " + "(" * 200 + "phone" + ")" * 200 + " }}",
    "{{ " + "[" * 200 + "]" * 200 + " }}",
    "{{ " + "not " * 100 + "phone }}",
    "{{ " + "-" * 400 + "phone }}",
    "{{ phone }}" + "x" * MOST_SOURCE,
    "{{ " + "9" * 400 + " }}",
    "{{ 1e999 }}",
]


def _values(
    phone: str = "13800138000", name: str = "王小明", nonce: str = "n"
) -> dict[str, object]:
    secret = SimpleNamespace(app_key="the-key", items="the-items")
    return {"phone": phone, "name": name, "id_number": "1", "nonce": nonce, "secret": secret}


@pytest.mark.parametrize("source", HOSTILE)
def test_a_hostile_template_is_refused_when_the_file_is_read(source: str) -> None:
    with pytest.raises(TemplateFault) as refused:
        parse(source, VARIABLES, SECRETS)
    assert len(str(refused.value)) < 250


#: Pieces of the language, put together at random: whatever passes must render.
PIECES = [
    *("{{", "}}", " ", "phone", "name", "secret", ".", "app_key", "items", "__class__", "~", "|"),
    *("md5", "upper", "base64", "urlencode", "hmac_sha256", "(", ")", "[", "]", "'", '"', "a", "0"),
    *("{%", "%}", "for", "in", "if", "*", "+", ",", "{{ phone }}", "{{ secret.items }}", "is"),
    *("{{ (phone ~ secret.app_key) | md5 }}", "-", "{{-", "-}}", "not", "==", ":", "{", "}", "é"),
]  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=14), st.text(max_size=40), st.text(max_size=40))
def test_whatever_passes_renders_for_anybody(pieces: list[str], phone: str, name: str) -> None:
    source = "".join(pieces)
    try:
        parse(source, VARIABLES, SECRETS)
    except TemplateFault:
        return
    rendered = renderer(source)(_values(phone, name))
    assert len(rendered) <= 200 * (len(source) + len(phone) + len(name))


EXPRESSIONS = st.recursive(
    st.sampled_from(["phone", "name", "nonce", "secret.app_key", "secret.items", "'text'"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]} ~ {pair[1]})"),
        st.tuples(inner, st.sampled_from(["md5", "sha1", "sha256", "base64"])).map("|".join),
        st.tuples(inner, st.sampled_from(["lower", "upper", "urlencode"])).map("|".join),
        inner.map(lambda one: f"{one}|hmac_sha1(secret.app_key)"),
    ),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(EXPRESSIONS, st.text(max_size=30), st.text(max_size=30))
def test_every_allowed_expression_renders_for_anybody(
    expression: str, phone: str, name: str
) -> None:
    source = f"a{{{{ {expression} }}}}b"
    try:
        parse(source, VARIABLES, SECRETS)
    except TemplateFault as fault:
        assert "filters in a row" in str(fault) or "longer" in str(fault) or "paren" in str(fault)  # noqa: PT017
        return
    assert renderer(source)(_values(phone, name)).startswith("a")


@pytest.mark.parametrize(
    ("source", "rendered"),
    [
        ("plain }} text", "plain }} text"),
        ("", ""),
        ("{{ phone }}", "13800138000"),
        ("{{phone}}-{{ name }}\n", "13800138000-王小明\n"),
        ("{{ phone ~ '/' ~ nonce }}", "13800138000/n"),
        ("{{ secret.app_key }}", "the-key"),
        ("{{ secret.items }}", "the-items"),  # no method of a dictionary
        ("{{ name | md5 }}", hashlib.md5("王小明".encode()).hexdigest()),  # noqa: S324
        ("{{ name | sha1 }}", hashlib.sha1("王小明".encode()).hexdigest()),  # noqa: S324
        ("{{ name | sha256 | upper }}", hashlib.sha256("王小明".encode()).hexdigest().upper()),
        ("{{ 'abc' | sm3 }}", "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        ("{{ name | base64 }}", "546L5bCP5piO"),
        ("{{ name | urlencode }}", quote("王小明")),
        ("{{ '/ &' | urlencode }}", "%2F%20%26"),
        ("{{ 'AbC' | lower }}", "abc"),
        (
            "{{ phone | hmac_sha256(secret.app_key) }}",
            hmac.new(b"the-key", b"13800138000", "sha256").hexdigest(),
        ),
        (
            "{{ phone | hmac_sha1(secret.app_key) }}",
            hmac.new(b"the-key", b"13800138000", "sha1").hexdigest(),
        ),
    ],
)
def test_a_filter_does_what_its_name_says(source: str, rendered: str) -> None:
    if "sm3" in source and "sm3" not in hashlib.algorithms_available:
        pytest.skip("this OpenSSL has no SM3")
    parse(source, VARIABLES, SECRETS)
    assert renderer(source)(_values()) == rendered


def test_a_digest_counts_as_keyed_only_with_a_secret_in_it() -> None:
    def keyed(source: str) -> list[bool]:
        return [use.is_keyed for use in parse(source, VARIABLES, SECRETS).uses]

    assert keyed("{{ phone }}{{ phone | sha256 }}{{ phone | upper }}") == [False] * 3
    assert keyed("{{ phone | hmac_sha256(secret.app_key) | upper }}") == [True]
    assert keyed("{{ (phone ~ secret.app_key) | md5 }}{{ name }}") == [True, False]
    assert keyed("{{ secret.app_key }}{{ phone | md5 }}") == [False]
    assert keyed("{{ (phone | md5) ~ secret.app_key }}") == [False]
    assert keyed("{{ ((phone | md5) ~ secret.app_key) | md5 }}") == [True]


def test_without_jinja2_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    templates._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2.sandbox", None)
    try:
        with pytest.raises(ConfigError, match="Jinja2") as refused:
            parse("{{ phone }}", VARIABLES, SECRETS)
    finally:
        templates._environment.cache_clear()
    assert refused.value.fix == "pip install 'verifier[generic]'"
