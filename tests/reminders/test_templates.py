from __future__ import annotations

import pytest

from verifier.config import Config, GatewayConfig, ReminderConfig
from verifier.errors import ConfigError
from verifier.gateways.base import Channel
from verifier.guidance import LOCALES
from verifier.reminders import plan, policy, templates

RULES = ReminderConfig()
SIGNATURE = "【某某某某】"  # as vendors put it before the text
EVERY = [(policy.template_of(outcome), locale) for outcome in policy.CHANNELS for locale in LOCALES]


def test_every_outcome_that_concerns_a_person_has_its_template_and_no_other_exists() -> None:
    assert templates.names() == {policy.template_of(outcome) for outcome in policy.CHANNELS}


@pytest.mark.parametrize(("name", "locale"), EVERY)
def test_texts_are_fixed_name_no_carrier_and_carry_only_our_link(name: str, locale: str) -> None:
    texts = templates.render(name, locale, RULES)
    for part in (texts.title, texts.text, texts.sms):
        assert part
        assert not set("{}$%【】") & set(part)
        assert not [carrier for carrier in ("移动", "联通", "电信", "广电") if carrier in part]
    assert texts.sms.count("https://") == 1
    assert texts.sms.endswith(RULES.link)
    assert "http" not in texts.title + texts.text


@pytest.mark.parametrize("name", sorted(templates.names()))
def test_a_chinese_sms_is_one_part(name: str) -> None:
    assert len(SIGNATURE + templates.render(name, "zh", RULES).sms) <= 70


@pytest.mark.parametrize("name", sorted(templates.names()))
def test_an_english_sms_is_two_parts_at_most(name: str) -> None:
    assert len(SIGNATURE + templates.render(name, "en", RULES).sms) <= 2 * 67


def test_any_language_gets_one_of_ours() -> None:
    assert templates.render("mismatched", "zh-Hans-CN", RULES).title == "请核对手机号实名信息"
    assert templates.render("mismatched", "fr", RULES).title == "Please check your details"


@pytest.mark.parametrize(
    "link",
    [
        "https://verify.example.com.evil.example/mobile",
        "https://evil.example/verify.example.com/",
        "http://verify.example.com/mobile",
        "https://verify.example.com@evil.example/",
        "https://verify.example.com/a/../../x",
        "",
    ],
)
def test_a_link_that_is_not_ours_is_refused_at_rendering(link: str) -> None:
    # Past the configuration's own check, as a later change of it might let it.
    rules = RULES.model_copy(update={"link": link})
    with pytest.raises(ConfigError):
        templates.render("mismatched", "zh", rules)


def test_every_kind_of_gateway_has_its_channel_in_planning() -> None:
    def row(kind: str) -> dict[str, object]:
        return {
            "kind": kind,
            "key_id": "env:A",
            "key_secret": "env:B",
            "sign_name": "x",
            "templates": {"mismatched": "SMS_1"},
        }

    config = Config(
        gateways={k: GatewayConfig.model_validate(row(k)) for k in ("jpush", "aliyun_sms")}
    )
    assert plan.channels_of(config) == {Channel.PUSH, Channel.SMS}
