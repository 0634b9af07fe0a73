"""``docs/reference.md`` says what the configuration file may hold: every key, every default."""

from __future__ import annotations

import re
import tomllib
from datetime import time
from enum import Enum
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from beat_schedule import TIMETABLE
from verifier.config import (
    AuditConfig,
    BudgetConfig,
    CallbackConfig,
    CarrierCheckConfig,
    Config,
    EngineConfig,
    GatewayConfig,
    LaneConfig,
    ProviderConfig,
    RecycledCheckConfig,
    ReminderConfig,
    StatusCheckConfig,
    TimetableConfig,
    WebhookConfig,
)
from verifier.config.providers import kinds, settings_of

TEXT = (Path(__file__).parent.parent / "docs/reference.md").read_text("utf-8")
SECTIONS: dict[str, type[BaseModel]] = {
    "providers.NAME.": ProviderConfig,
    "lanes.LANE.": LaneConfig,
    "checks.status.": StatusCheckConfig,
    "checks.recycled.": RecycledCheckConfig,
    "checks.carrier.": CarrierCheckConfig,
    "budget.": BudgetConfig,
    "gateways.NAME.": GatewayConfig,
    "webhooks.NAME.": WebhookConfig,
    "callbacks.": CallbackConfig,
    "engine.": EngineConfig,
    "reminders.": ReminderConfig,
    "audit.": AuditConfig,
    "timetable.": TimetableConfig,
}
#: What stands for a default that the model does not hold itself.
ELSEWHERE = {
    "gateways.NAME.endpoint": "the vendor's",
    "providers.NAME.endpoint": "the vendor's",
    "providers.NAME.check_lanes": "all",
    "timetable.audit": next(f"{e.at:%H:%M}" for e in TIMETABLE if e.task == "verifier.audit.run"),
    "timetable.reminders_plan": next(
        f"{e.at:%H:%M}" for e in TIMETABLE if e.task == "verifier.reminders.plan"
    ),
}


def documented() -> dict[str, str]:
    """Key → default, as the table has them. ``….`` stands for the section of the row above."""
    table = TEXT.partition("## Configuration file")[2].partition("| key | default |")[2]
    found: dict[str, str] = {}
    section = ""
    for line in table.splitlines()[2:]:
        if not line.startswith("|"):
            break
        keys_cell, default_cell = (cell.strip() for cell in line.split("|")[1:3])
        keys = re.findall("`([^`]+)`", keys_cell)
        defaults = default_cell.replace("`", "").split(", ")
        assert len(defaults) in (1, len(keys)), line
        for number, key in enumerate(keys):
            if key.startswith("…."):
                key = section + key.removeprefix("….")
            section = key.rpartition(".")[0] + "." if "." in key else ""
            assert key not in found, f"{key} stands there twice"
            found[key] = defaults[number % len(defaults)]
    return found


def declared() -> dict[str, str]:
    """Key → default, as the models have them."""
    found = {
        section + name: shown(field)
        for section, model in SECTIONS.items()
        for name, field in model.model_fields.items()
    }
    tables = {section.partition(".")[0] for section in SECTIONS}
    for name, field in Config.model_fields.items():
        if name not in tables:
            found[name] = shown(field)
    return found | {key: ELSEWHERE[key] for key in ELSEWHERE.keys() & found.keys()}


def shown(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    default = field.get_default(call_default_factory=True)
    if default is None or default in ("", {}, ()):
        return ""
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, time):
        return f"{default:%H:%M}"
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return str(default.value if isinstance(default, Enum) else default)


def test_every_table_of_the_file_is_looked_at() -> None:
    tables = {section.partition(".")[0] for section in SECTIONS}
    nested = {
        name
        for name, field in Config.model_fields.items()
        if isinstance(field.get_default(call_default_factory=True), (BaseModel, dict))
    }
    assert nested == tables


PROVIDERS = (Path(__file__).parent.parent / "docs/providers.md").read_text("utf-8")


def of_kind(kind: str) -> dict[str, str]:
    """Key → default, as the tables under the kind's heading have them."""
    text = PROVIDERS.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for line in text.splitlines():
        if not line.startswith("| `"):
            continue
        keys_cell, default_cell = (cell.strip() for cell in line.split("|")[1:3])
        defaults = default_cell.replace("`", "").split(", ")
        for number, key in enumerate(re.findall("`([^`]+)`", keys_cell)):
            found[key] = defaults[number % len(defaults)]
    return found


@pytest.mark.parametrize("kind", kinds())
def test_every_kind_of_provider_is_documented_with_every_key_of_its_own(kind: str) -> None:
    model = settings_of(kind)
    assert model is not None
    own = {
        field.alias or name: shown(field)
        for name, field in model.model_fields.items()
        if name == "endpoint" or (name != "kind" and name not in ProviderConfig.model_fields)
    }
    assert of_kind(kind) == own


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", PROVIDERS, re.DOTALL))
def test_every_example_of_a_provider_is_a_valid_configuration(block: str) -> None:
    found = Config.model_validate(tomllib.loads(block))
    assert found.providers
    for name, row in found.providers.items():
        assert all(name in found.providers_of(lane) for lane in row.lanes)


def test_the_kinds_are_those_that_are_documented() -> None:
    named = re.findall(r"^\| \[`(\w+)`\]\(#\w+\)", PROVIDERS, re.MULTILINE)
    assert sorted(named) == kinds()
    assert {"aliyun_cloudauth", "aliyun_dytns", "camara", "generic", "tencent"} <= set(kinds())


def test_the_reference_has_every_key_of_the_configuration_file_and_no_other() -> None:
    assert set(documented()) == set(declared())


@pytest.mark.parametrize("key", sorted(declared()))
def test_the_reference_has_the_default_of(key: str) -> None:
    assert documented()[key] == declared()[key]
