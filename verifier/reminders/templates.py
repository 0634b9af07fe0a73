"""The texts of reminders: a catalogue of fixed templates (``data/reminders.toml``), rendered.

Promises: every outcome that concerns a person has a text in both locales; there are no variables,
so nothing personal can stand in one; the only link is the configured one, and it is checked again
here. Does not know which vendor's template code belongs to a name: that is the gateway's.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from urllib.parse import urlsplit

from verifier.config import ReminderConfig
from verifier.errors import ConfigError
from verifier.guidance import LOCALES, locale_of


@dataclass(frozen=True, slots=True)
class Rendered:
    """``title`` and ``text`` of a push, ``sms`` as the vendor sends it without the signature."""

    title: str
    text: str
    sms: str
    link: str


@dataclass(frozen=True, slots=True)
class _Text:
    title: str
    text: str
    sms: str


def render(template: str, locale: str, rules: ReminderConfig) -> Rendered:
    """The texts of a template. Raises KeyError for an unknown name, ConfigError for a bad link."""
    link = official_link(rules)
    entry = _catalogue()[template][locale_of(locale)]
    return Rendered(entry.title, entry.text, entry.sms.replace("{link}", link), link)


def names() -> frozenset[str]:
    """Every template's name."""
    return frozenset(_catalogue())


def official_link(rules: ReminderConfig) -> str:
    """The link of every reminder, once more held against the allowed ones.

    Raises ConfigError: a message that leads people elsewhere must not leave, however it came about.
    """
    address = urlsplit(rules.link)
    plain = address.scheme == "https" and not address.username and not address.password
    if not plain or not any(_covers(allowed, rules.link) for allowed in rules.allowed_links):
        raise ConfigError(
            "The link of the reminders is not one of ours.",
            fix="Set [reminders] link to an address that begins with one of allowed_links.",
        )
    return rules.link


def _covers(allowed: str, link: str) -> bool:
    """Same host, and below the same path: a prefix of text alone could name another host."""
    ours, theirs = urlsplit(allowed), urlsplit(link)
    return (
        ours.scheme == theirs.scheme
        and ours.netloc == theirs.netloc
        and theirs.path.startswith(ours.path)
        and ".." not in theirs.path
    )


@cache
def _catalogue() -> Mapping[str, Mapping[str, _Text]]:
    document = tomllib.loads(
        resources.files("verifier").joinpath("data/reminders.toml").read_text("utf-8")
    )
    return {
        name: {locale: _Text(**rows[locale]) for locale in LOCALES}
        for name, rows in document.items()
    }
