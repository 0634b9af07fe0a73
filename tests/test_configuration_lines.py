"""Where a fault of the configuration stands: the line of the key itself, however it is written."""

from __future__ import annotations

import pytest

from verifier.config.explain import _line_of

TEXT = """\
business_time_zone = "Asia/Shanghai"
# [providers.x]
[providers.y]
kind = "tencent"
[providers.y.verify.codes]
"1" = "A"
[providers.x]
kind = "generic"
qps = 3
verify.path = "/a"
[providers."x".verify.codes]
"1" = "MATCHED"
'a.b' = "NO_RECORD"
two . three = "x"
 [ providers.x.check.status ]
codes = { "1" = "ACTIVE" }
[[providers.x.list]]
qps = 4
""".splitlines()


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("business_time_zone", 1),
        ("providers", 3),
        ("providers.y.verify.codes.1", 6),
        ("providers.y.qps", 3),
        ("providers.x", 7),
        ("providers.x.qps", 9),
        ("providers.x.missing", 7),
        ("providers.x.verify.path", 10),
        ("providers.x.verify.missing", 10),
        ("providers.x.verify.codes", 11),
        ("providers.x.verify.codes.1", 12),
        ("providers.x.verify.codes.two.three", 14),
        ("providers.x.check.status", 15),
        ("providers.x.check.status.codes.1", 16),
        ("providers.x.list.qps", 18),
        ("providers.z", 3),
        ("engine.threads", 1),
        ("kind", 1),
    ],
)
def test_the_line_is_that_of_the_last_key_that_is_there(keys: str, line: int) -> None:
    assert _line_of(keys.split("."), TEXT) == line


def test_a_key_with_a_dot_in_it_is_one_key() -> None:
    assert _line_of(["providers", "x", "verify", "codes", "a.b"], TEXT) == 13
