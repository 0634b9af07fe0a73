"""Every command that a message or a document names can be typed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.test_manners import ALL

ROOT = Path(__file__).parent.parent.parent
FILES = sorted([*ROOT.glob("verifier/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"])
NAMED = re.compile(r"`verifier ([a-z][a-z -]*)")
PREFIXES = {path[:depth] for path in ALL for depth in range(1, 3)}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_command_that_is_named_exists(file: Path) -> None:
    for found in NAMED.findall(file.read_text("utf-8")):
        words = tuple(word for word in found.split() if not word.startswith("-"))
        assert words[:1] in PREFIXES, found
        has_more = words[0] not in {path[0] for path in ALL if len(path) == 1}
        if len(words) > 1 and has_more:
            assert words[:2] in PREFIXES, found


def test_every_command_stands_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    missing = [" ".join(path) for path in ALL if " ".join(path) not in text]
    assert missing == []
