from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifier.identity.errors import REASONS, InvalidField
from verifier.identity.names import canonical_name, parse_name


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("张三", "张三"),
        (" 张三\n", "张三"),
        ("张　三", "张三"),
        ("张  三", "张三"),
        ("阿卜杜•热西提", "阿卜杜·热西提"),
        ("阿卜杜・热西提", "阿卜杜·热西提"),
        ("阿卜杜･热西提", "阿卜杜·热西提"),
        ("阿卜杜‧热西提", "阿卜杜·热西提"),
        ("阿卜杜⋅热西提", "阿卜杜·热西提"),
        ("阿卜杜．热西提", "阿卜杜·热西提"),
        ("阿卜杜.热西提", "阿卜杜·热西提"),
        ("阿卜杜 · 热西提", "阿卜杜·热西提"),
        ("J．R． Smith", "J.R. Smith"),
        ("John  Ronald   Smith", "John Ronald Smith"),
        ("ＪＯＨＮ　ＳＭＩＴＨ", "JOHN SMITH"),
        ("O’Brien", "O'Brien"),
        ("Jean–Luc", "Jean-Luc"),
        ("Jose\u0301", "José"),
        ("⼈民", "人民"),  # Kangxi radical
        ("李〇", "李〇"),
        ("葛\U000e0100城", "葛城"),
        ("王\U00031350", "王\U00031350"),  # younger than Python's tables
    ],
)
def test_one_person_has_one_spelling(text: str, canonical: str) -> None:
    assert canonical_name(text) == canonical
    assert parse_name(text).canonical == canonical


@pytest.mark.parametrize("rare", ["䶮", "㐂", "鿍", "𬱖"])
def test_rare_ideographs_stay_as_they_are(rare: str) -> None:
    assert canonical_name(f"王{rare}") == f"王{rare}"


@pytest.mark.parametrize(
    ("private", "assigned"),
    [("\ue81e", "\u9fb4"), ("\ue863", "\u4dae"), ("\ue831", "\U000215d7"), ("\ue864", "\u9fbb")],
)
def test_private_use_characters_of_old_gb_encodings_become_real(
    private: str, assigned: str
) -> None:
    assert canonical_name(f"王{private}") == f"王{assigned}"


def code_of(text: str) -> str | None:
    try:
        canonical_name(text)
    except InvalidField as error:
        return error.code
    return None


def test_all_80_private_use_places_of_gb18030_are_known() -> None:
    codes = [code_of(f"王{chr(code)}") for code in range(0xE815, 0xE865)]
    # 14 of them became radicals, which are in nobody's name.
    assert (codes.count(None), codes.count("unexpected_character")) == (66, 14)


def test_a_compatibility_ideograph_is_kept_for_one_more_try() -> None:
    name = parse_name(" 李\uf929 ")
    assert name.raw == " 李\uf929 "
    assert name.canonical == "李\u6717"
    assert name.alternative == "李\uf929"


def test_an_ordinary_name_has_no_alternative() -> None:
    assert parse_name("阿卜杜•热西提").alternative is None
    assert parse_name("Jose\u0301").alternative is None


REFUSED = [
    ("", "empty"),
    ("  ", "empty"),
    ("张", "too_short"),
    ("张" * 51, "too_long"),
    ("a" * 1000, "too_long"),
    ("张\u200b三", "control_character"),
    ("张\x00三", "control_character"),
    ("张\n三", "control_character"),
    ("张\ud800", "control_character"),
    ("张3", "digit"),
    ("张③", "digit"),
    ("张３", "digit"),
    ("王\ue000", "private_use"),
    ("张☺", "unexpected_character"),
    ("[张三]", "unexpected_character"),
    ("·张三", "misplaced_punctuation"),
    ("张三·", "misplaced_punctuation"),
    ("张··三", "misplaced_punctuation"),
]


@pytest.mark.parametrize(("text", "code"), REFUSED)
def test_what_is_no_name_is_refused_with_the_reason(text: str, code: str) -> None:
    for read in (canonical_name, parse_name):
        with pytest.raises(InvalidField) as caught:
            read(text)
        assert (caught.value.field, caught.value.code) == ("name", code)


def test_every_reason_for_refusing_a_name_can_happen() -> None:
    assert {code for _, code in REFUSED} == set(REASONS["name"]) - {"not_text"}


def test_fifty_code_points_fit() -> None:
    assert canonical_name("张" * 50) == "张" * 50


# Characters that meet the interesting rules far more often than a random one would.
_tricky = st.sampled_from(
    "张三李〇Aé\u0301'.- \u3000·•・‧⋅．･\uf929\ue81e\ufe00⼈ｶﾞ\u3099\u1100\u1161"
)


@given(st.text(_tricky | st.characters(), min_size=1, max_size=60))
def test_canonical_is_idempotent_and_agrees_with_parse(text: str) -> None:
    try:
        canonical = canonical_name(text)
    except InvalidField:
        return
    assert canonical_name(canonical) == canonical
    assert unicodedata.is_normalized("NFC", canonical)
    assert 2 <= len(canonical) <= 50
    name = parse_name(text)
    assert (name.raw, name.canonical) == (text, canonical)
    if name.alternative is not None:
        assert unicodedata.normalize("NFC", name.alternative) == canonical


def test_a_name_does_not_show_itself() -> None:
    assert "张" not in repr(parse_name("张三"))
