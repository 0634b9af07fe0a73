"""What ``verifier/data/outcomes.yaml`` declares, read for itself."""

from __future__ import annotations

from functools import cache
from importlib import resources

import yaml


@cache
def declared_details() -> dict[str, frozenset[str]]:
    """Outcome → the details the map declares for it."""
    text = resources.files("verifier").joinpath("data/outcomes.yaml").read_text("utf-8")
    return {
        name: frozenset(row.get("detail", row.get("scope", ())))
        for name, row in yaml.safe_load(text)["outcomes"].items()
    }
