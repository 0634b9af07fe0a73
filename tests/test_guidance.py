from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from importlib import resources
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.outcome_map import declared_details
from verifier.guidance import (
    LOCALES,
    Actor,
    Guidance,
    WaitingReason,
    for_outcome,
    for_waiting,
    locale_of,
)
from verifier.outcomes import UNRESOLVED, Meaning, Outcome, code_table

DOCUMENT = tomllib.loads(
    resources.files("verifier").joinpath("data/guidance.toml").read_text("utf-8")
)
#: The answer to a check is told as what follows from it.
TOLD = [outcome for outcome in Outcome if outcome is not Outcome.CHECKED]
DECLARED = sorted(
    {(outcome.value, None) for outcome in TOLD}
    | {(UNRESOLVED, None), ("PROVIDER_ERROR", "UNKNOWN_CODE")}
    | {(name, detail) for name, details in declared_details().items() for detail in details},
    key=str,
)
UNTIL = datetime(2026, 5, 11, 2, 30, tzinfo=UTC)
CARRIERS = re.compile(
    r"移动|联通|电信|广电|铁通|china mobile|unicom|telecom|broadnet|cmcc|ctcc|cucc|cbn"
    r"|tencent|腾讯|alibaba|aliyun|阿里",
    re.IGNORECASE,
)


def name_of(outcome: str, detail: str | None) -> str:
    return f"{outcome}/{detail}" if detail else outcome


def every_guidance() -> list[tuple[str, str, Guidance]]:
    found = []
    for locale in LOCALES:
        for outcome, detail in DECLARED:
            label = name_of(outcome, detail)
            found.append((label, locale, for_outcome(outcome, detail, locale)))
        for reason in WaitingReason:
            found.append((reason, locale, for_waiting(reason, None, locale)))
            found.append((reason, locale, for_waiting(reason, UNTIL, locale)))
    return found


def test_the_catalogue_has_exactly_the_declared_outcomes_and_details() -> None:
    assert set(DOCUMENT["outcome"]) == {name_of(*pair) for pair in DECLARED}


def test_the_catalogue_has_exactly_the_reasons_for_waiting() -> None:
    assert set(DOCUMENT["waiting"]) == {reason.value for reason in WaitingReason}


def test_every_detail_of_every_vendor_table_has_a_text() -> None:
    tables = yaml_tables()
    assert len(tables) > 10
    for table in tables:
        told = [meaning for _, meaning in rows_of(table) if meaning.outcome in TOLD]
        names = {name_of(meaning.outcome, meaning.detail) for meaning in told}
        assert names <= set(DOCUMENT["outcome"]), table


def rows_of(table: str) -> list[tuple[str, Meaning]]:
    return code_table(table).items()


def yaml_tables() -> list[str]:
    text = resources.files("verifier").joinpath("data/outcomes.yaml").read_text("utf-8")
    return [name for name in yaml.safe_load(text) if name != "outcomes"]


@pytest.mark.parametrize(("label", "locale", "guidance"), every_guidance())
def test_every_text_is_whole_and_in_its_language(
    label: str, locale: str, guidance: Guidance
) -> None:
    for text in (guidance.text, guidance.next_step):
        assert text.strip() == text
        assert text.endswith("。" if locale == "zh" else ".")
        assert "{" not in text
        has_han = re.search("[\u4e00-\u9fff]", text) is not None
        assert has_han is (locale == "zh"), label
    assert guidance.text in guidance.message
    assert guidance.next_step in guidance.message


@pytest.mark.parametrize(("label", "locale", "guidance"), every_guidance())
def test_no_text_names_a_carrier_or_a_vendor(label: str, locale: str, guidance: Guidance) -> None:
    assert CARRIERS.search(guidance.message) is None, label


@pytest.mark.parametrize("reason", list(WaitingReason))
@pytest.mark.parametrize(
    ("locale", "when", "no_resubmit"),
    [
        ("zh", "2026年5月11日10:30（北京时间）", "无需重复提交"),
        ("en", "11 May 2026, 10:30 (Beijing time)", "no need to submit again"),
    ],
)
def test_a_waiting_text_says_why_until_when_and_what_else(
    reason: WaitingReason, locale: str, when: str, no_resubmit: str
) -> None:
    guidance = for_waiting(reason, UNTIL, locale)
    row = DOCUMENT["waiting"][reason][locale]
    assert guidance.text.startswith(row["why"])
    # When somebody looks for money again is no promise to a person.
    assert (when in guidance.text) == (reason is not WaitingReason.BUDGET)
    assert no_resubmit in guidance.next_step
    assert guidance.next_step.endswith(row["else"])
    assert guidance.who_acts in {Actor.SYSTEM, Actor.OPERATOR}
    without = for_waiting(reason, None, locale)
    assert when not in without.text
    assert no_resubmit in without.next_step


def test_a_waiting_time_is_shown_on_the_persons_clock() -> None:
    berlin = for_waiting("maintenance", UNTIL, "en", ZoneInfo("Europe/Berlin"))
    assert "11 May 2026, 04:30 (UTC+02:00)" in berlin.text
    new_york = for_waiting("maintenance", UNTIL, "zh", ZoneInfo("America/New_York"))
    assert "2026年5月10日22:30（UTC-04:00）" in new_york.text


def test_a_waiting_time_is_never_named_too_early() -> None:
    almost = datetime(2026, 5, 11, 15, 59, 0, 1, tzinfo=UTC)
    assert "2026年5月12日00:00" in for_waiting("retry", almost).text


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        for_waiting("retry", datetime(2026, 5, 11))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("outcome", "actor"),
    [
        ("MATCHED", Actor.NOBODY),
        ("MISMATCHED", Actor.PERSON),
        ("AUTH_CONFIG", Actor.OPERATOR),
        ("ARREARS", Actor.OPERATOR),
        ("MAINTENANCE", Actor.SYSTEM),
        (UNRESOLVED, Actor.OPERATOR),
    ],
)
def test_who_acts_is_said(outcome: str, actor: Actor) -> None:
    assert for_outcome(outcome).who_acts is actor


def test_no_outcome_without_a_result_sends_the_person_off_to_do_something() -> None:
    for outcome in TOLD:
        if not outcome.is_result:
            for locale in LOCALES:
                guidance = for_outcome(outcome, None, locale)
                assert guidance.who_acts in {Actor.SYSTEM, Actor.OPERATOR}
                assert re.search("无需重复提交|no need to submit again", guidance.next_step)


def test_a_fault_of_ours_is_never_laid_at_the_persons_door() -> None:
    assert for_outcome(Outcome.INVALID_INPUT, "PARAM").who_acts is Actor.OPERATOR


def test_an_unknown_detail_is_told_like_its_outcome() -> None:
    assert for_outcome("MISMATCHED", "NEW_DETAIL") == for_outcome("MISMATCHED")


def test_an_unknown_outcome_or_reason_is_an_error() -> None:
    with pytest.raises(ValueError, match="PERHAPS"):
        for_outcome("PERHAPS")
    with pytest.raises(ValueError, match="boredom"):
        for_waiting("boredom")


@pytest.mark.parametrize(
    ("language", "locale"),
    [
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh_Hant_TW", "zh"),
        ("ZH-hk", "zh"),
        ("en", "en"),
        ("en-GB", "en"),
        ("de", "en"),
        ("zha", "en"),  # Zhuang is not Chinese
        ("", "en"),
    ],
)
def test_a_language_falls_back_to_a_locale_we_have(language: str, locale: str) -> None:
    assert locale_of(language) == locale
    assert for_outcome("MATCHED", None, language) == for_outcome("MATCHED", None, locale)
