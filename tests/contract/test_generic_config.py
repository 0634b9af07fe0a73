"""A described provider that cannot work is refused when the file is read, with key and line."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.contract.cases.generic import FORM_RESELLER, RESELLER
from verifier.carriers import registry, templates
from verifier.carriers.generic import Settings
from verifier.config import Config, load
from verifier.errors import ConfigError
from verifier.local.reseller_config import reseller_table

TEXT = reseller_table("http://127.0.0.1:1", "env:TESTS_KEY", "env:TESTS_SECRET")
GONE = object()


def _at(table: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The table with another value at ``verify/codes/1``; GONE takes the key away."""
    made = copy.deepcopy(table)
    *above, last = path.split("/")
    here = made
    for key in above:
        here = here.setdefault(key, {})
    if value is GONE:
        del here[last]
    else:
        here[last] = value
    return made


def _faults(table: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ValidationError) as refused:
        Settings.model_validate(table)
    return {
        "/".join(map(str, fault["loc"])): fault["msg"].removeprefix("Value error, ")
        for fault in refused.value.errors()
    }


def test_both_descriptions_of_these_tests_are_in_order() -> None:
    for table in (RESELLER, FORM_RESELLER):
        Settings.model_validate(table)


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("verify/body/mobile", "{{ phonee }}", "knows no variable 'phonee'"),
        ("verify/body/mobile", "{{ phone | md6 }}", "knows no filter 'md6'"),
        ("verify/body/mobile", "{{ phone", "is no template"),
        ("verify/body/mobile", "{{ secret.nope }}", "secret.nope, which the table of"),
        ("verify/body/mobile", "{{ since }}", "knows no variable 'since'"),
        ("verify/body/mobile", 1.5, "must be a template"),
        ("verify/body/mobile", ["{{ phone }}"], "must be a template"),
        ("verify/body/count", 2**60, "too large"),
        ("verify/body/a", {"b": {"c": "{% x %}"}}, "neither {% %}"),
        ("verify/body/apiKey", "abcdef", "holds a credential"),
        ("verify/body/password", 12345678, "holds a credential"),
        ("verify/query/key", "abcdef", "holds a credential"),
        ("verify/headers/Authorization", "Bearer abcdef", "holds a credential"),
        ("verify/headers/Authorization", "Bearer {{ nonce }}", "holds a credential"),
        ("verify/headers/x-api-key", "abcdef", "holds a credential"),
        ("verify/headers/Cookie", "a=b", "holds a credential"),
        ("verify/headers/X-App-Key", "abcdef", "{{ secret.NAME }}"),
        ("verify/headers/X-Phone", "{{ phone }}", "must be a digest, base64 or urlencode"),
        ("verify/headers/X-Name", "{{ name | upper }}", "must be a digest, base64 or urlencode"),
        ("verify/headers/X-Line", "a\r\nX-Evil: 1", "printable ASCII"),
        ("verify/headers/X-Line", "{{ nonce ~ 'é' }}", "printable ASCII"),
        ("verify/headers/X Y", "a", "no name of a header"),
        ("verify/headers/X:Y", "a", "no name of a header"),
        ("verify/headers/Host", "a.example", "set by the transport"),
        ("verify/headers/content-length", "3", "set by the transport"),
        ("verify/headers/x-app-key", "{{ secret.app_key }}", "stands here twice"),
        ("verify/query/p", "{{ phone }}", "allow_personal_data_in_url = true"),
        ("verify/query/p", "{{ phone_e164 | urlencode }}", "puts phone_e164 into the URL"),
        ("verify/query/p", "{{ phone | sha256 }}", "which anybody can look up"),
        ("verify/query/p", "{{ name }}{{ secret.app_key }}", "puts name into the URL"),
        ("verify/path", "/a?phone=1", "pattern"),
        ("verify/path", "/a b", "pattern"),
        ("verify/path", "a", "pattern"),
        ("verify/method", "PUT", "'POST' or 'GET'"),
        ("verify/result", "data..x", "must be a path"),
        ("verify/result", "data[x]", "must be a path"),
        ("verify/result", "", "must be a path"),
        ("verify/result", ".".join("a" * 12), "must be a path"),
        ("verify/codes/1", "MATCHD", "did you mean 'MATCHED'"),
        ("verify/codes/1", "CHECKED", "nothing that a vendor can answer"),
        ("verify/codes/3", "NOT_SENT", "nothing that a vendor can answer"),
        ("verify/codes/3", "ACTIVE", "must be one of"),
        ("verify/codes/3", "INVALID_INPUT", "needs a detail: INVALID_INPUT/ and PHONE, ID"),
        ("verify/codes/3", "MISMATCHED/EYES", "needs a detail"),
        ("verify/codes/3", "NO_RECORD/NAME", "has no details"),
        ("verify/codes/" + "x" * 65, "NO_RECORD", "pattern"),
        ("verify/codes/1", "MISMATCHED", "no code means MATCHED"),
        ("verify/codes", {}, "at least 1"),
        ("verify/errors/1001", "MATCHED", "is a verdict"),
        ("verify/errors/1001", "MISMATCHED/NAME", "is a verdict"),
        ("verify/errors/10*", "NO_RECORD", "is a verdict"),
        ("verify/errors/10*", "INVALID_INPUT/PHONE", "is a verdict"),
        ("verify/errors/1*0", "AUTH_CONFIG", "and nowhere else"),
        ("verify/errors/*", "AUTH_CONFIG", "and nowhere else"),
        ("verify/http/404", "NO_RECORD", "is a verdict"),
        ("verify/http/400", "INVALID_INPUT/PARAM", "is a verdict"),
        ("verify/http/200", "MATCHED", "pattern"),
        ("verify/billed/7", "yes", "is no code of codes"),
        ("verify/billed/1", "perhaps", "'no', 'yes' or 'maybe'"),
        ("verify/errors_billed/7", "yes", "is no code of errors"),
        ("verify/carriers/X", "vodafone", "'cmcc'"),
        ("verify/carrier", GONE, "needs carrier, where it stands"),
        ("verify/detail", GONE, "needs detail, where it stands"),
        ("verify/details/x", "SUSPENDED", "is no detail of an outcome in codes"),
        ("verify/signature/key", GONE, "needs the name of a secret"),
        ("verify/signature/key", "nope", "names a secret that the table of secrets lacks"),
        ("verify/signature/algorithm", "crc32", "'md5'"),
        ("verify/signature/algorithm", "sha256", "sha256 has none"),
        ("verify/signature/over", "sorted_parameters", "covers nothing of the request"),
        ("verify/signature/over", "{{ body }}", "knows no variable 'body'"),
        ("verify/signature/name", "mobile", "stands in the call already"),
        ("check/status/codes/0", "MATCHED", "nothing about whose number it is"),
        ("check/status/codes/0", "NO_RECORD", "nothing about whose number it is"),
        ("check/status/codes/0", "SAME_HOLDER", "must be one of ACTIVE"),
        ("check/status/codes", {"0": "MAINTENANCE"}, "no code is an answer to the check"),
        ("check/status/errors/2001", "INVALID_INPUT/PHONE", "nothing about whose number it is"),
        ("check/status/body/mobile", "{{ name }}", "knows no variable 'name'"),
        ("check/status/body/mobile", "1", "the phone is never sent"),
        ("secrets/app_key", "abcdef", "must be a reference"),
        ("secrets/App", "env:A", "pattern"),
        ("endpoint", "http://reseller.example.com", "must be https://"),
        ("endpoint", "https://a.example/?x=1", "without a query"),
        ("vendor", "Some One", "pattern"),
        ("max_body", 1_000_000, "less than or equal to 65536"),
        ("probe/codes", ["1"], "'1' is no free result in codes or errors"),
        ("probe/codes", ["7777"], "'7777' is no free result in codes or errors"),
        ("probe/codes", [], "at least 1"),
        ("endpoint", GONE, "required"),
        ("verify", GONE, "is missing: it has lanes"),
        ("check", GONE, "is missing: checks names it"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_where_it_stands(path: str, value: object, told: str) -> None:
    found = _faults(_at(RESELLER, path, value))
    where = [key for key, text in found.items() if told in text]
    assert where, found
    assert len(found) <= 2
    assert any(key.startswith(path.partition("/")[0]) for key in where)


def test_a_fault_stands_at_the_very_key() -> None:
    assert _faults(_at(RESELLER, "verify/codes/1", "MATCHD")).keys() == {"verify/codes/1"}
    nested = _at(FORM_RESELLER, "verify/format", "json")
    nested["verify"]["signature"]["over"] = "{{ nonce }}{{ secret.app_key }}"
    found = _faults(_at(nested, "verify/body/x", {"y": "{{ z }}"}))
    assert found.keys() == {"verify/body/x/y"}


@pytest.mark.parametrize(
    ("element", "told"),
    [("mobile", "the phone"), ("name", "the name"), ("idCard", "the ID number")],
)
def test_an_element_that_is_never_sent_could_not_be_verified(element: str, told: str) -> None:
    found = _faults(_at(RESELLER, f"verify/body/{element}", GONE))
    assert found == {"verify/body": f"{told} is never sent"}


def test_a_check_since_a_day_must_send_the_day() -> None:
    table = _at(FORM_RESELLER, "check/recycled/query/since", GONE)
    Settings.model_validate(table)
    found = _faults(_at(table, "check/recycled/query/compact", GONE))
    assert found == {"check/recycled/query": "the day (since) is never sent"}


@pytest.mark.parametrize(
    "template",
    ["{{ phone | hmac_sha256(secret.app_key) }}", "{{ (phone ~ secret.app_key) | md5 | upper }}"],
)
def test_a_phone_under_a_secret_may_stand_in_a_url(template: str) -> None:
    Settings.model_validate(_at(RESELLER, "verify/query/p", template))


def test_what_the_operator_allows_may_stand_in_a_url() -> None:
    table = _at(RESELLER, "verify/query/p", "{{ phone }}")
    Settings.model_validate(_at(table, "verify/allow_personal_data_in_url", True))


def test_a_header_named_for_a_key_of_ours_is_no_credential() -> None:
    Settings.model_validate(_at(RESELLER, "verify/headers/Idempotency-Key", "{{ reference }}"))


def test_a_digest_anybody_could_make_is_no_signature() -> None:
    found = _faults(_at(FORM_RESELLER, "verify/signature/over", "{{ sorted_parameters }}"))
    assert "anybody could make it" in found["verify/signature/over"]


def test_the_form_and_the_get_are_flat() -> None:
    found = _faults(_at(FORM_RESELLER, "verify/body/a", {"b": "c"}))
    assert found["verify/body/a"] == "a form has no tables"
    found = _faults(_at(FORM_RESELLER, "check/recycled/body", {"b": "c"}))
    assert found["check/recycled/body"] == "a GET has no body: use query"
    found = _faults(_at(RESELLER, "verify/body/a", {"b": "c"}))
    assert "flat body" in found["verify/signature/over"]
    deep: dict[str, Any] = {}
    here = deep
    for _ in range(2000):
        here["a"] = here = {}
    assert "tables more than 5 deep" in str(_faults(_at(RESELLER, "verify/body/a", deep)))


def test_errors_need_a_place() -> None:
    found = _faults(_at(RESELLER, "verify/success", {}))
    assert found == {"verify/errors": "needs error, where the code stands, or success"}


def test_a_carrier_that_is_found_must_be_named() -> None:
    found = _faults(_at(FORM_RESELLER, "check/carrier/carrier", GONE))
    assert "CARRIER needs carrier" in found["check/carrier/codes/0"]


def _told(tmp_path: Path, text: str) -> str:
    path = tmp_path / "verifier.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as refused:
        load(path)
    return str(refused.value)


@pytest.mark.parametrize(
    ("table", "right", "wrong", "key"),
    [
        ("verify.codes", '"1" = "MATCHED"', '"1" = "MATCHD"', "codes.1"),
        ("verify.body", 'mobile = "{{ phone }}"', 'mobile = "{{ tel }}"', "body.mobile"),
        ("check.status.body", 'mobile = "{{ phone }}"', 'mobile = "{{ tel }}"', "body.mobile"),
        ("verify", 'result = "data.result"', 'result = "a b"', "result"),
        ("check.status.codes", '"9" = "UNKNOWN"', '"9" = "NO_RECORD"', "codes.9"),
        ("verify.signature", 'key = "app_secret"', 'key = "app"', "signature.key"),
    ],
)
def test_a_fault_is_told_with_its_line_and_its_key(
    table: str, right: str, wrong: str, key: str, tmp_path: Path
) -> None:
    head = f"[providers.reseller.{table}]"
    before, found, after = TEXT.partition(head)
    text = before + found + after.replace(right, wrong, 1)
    line = text.splitlines().index(wrong, text.splitlines().index(head)) + 1
    where = f"providers.reseller.{table}".rpartition("." + key.partition(".")[0])[0]
    where = where or f"providers.reseller.{table}"
    assert f"line {line}: {where}.{key}: " in _told(tmp_path, text)


def test_a_misspelt_key_is_told_with_the_likely_one_of_its_own_table(tmp_path: Path) -> None:
    told = _told(tmp_path, TEXT.replace("requst_id", "").replace("request_id", "requst_id", 1))
    assert "providers.reseller.verify.requst_id: unknown key; did you mean 'request_id'?" in told
    told = _told(tmp_path, TEXT.replace("NAME.secrets", "").replace("r.secrets]", "r.secret]"))
    assert "providers.reseller.secret: unknown key; did you mean 'secrets'?" in told
    told = _told(tmp_path, TEXT.replace("check.status", "check.sttus"))
    assert "providers.reseller.check.sttus: must be 'status'" in told


def test_secrets_never_stand_in_what_is_told(tmp_path: Path) -> None:
    told = _told(tmp_path, TEXT.replace('"{{ secret.app_key }}"', '"hunter2-hunter2"'))
    assert "hunter2" not in told


def test_a_secret_with_a_line_break_is_found_at_the_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KEY", "good")
    monkeypatch.setenv("SECRET", "bad\n")
    config = Config.model_validate({"providers": {"reseller": RESELLER}})
    with pytest.raises(ConfigError, match=r"app_secret .* holds a line break"):
        registry.build_one("reseller", config.providers["reseller"], 1)


def test_without_jinja2_the_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates._environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2.sandbox", None)
    try:
        assert "needs Jinja2" in _told(tmp_path, TEXT)
    finally:
        templates._environment.cache_clear()
