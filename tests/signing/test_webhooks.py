"""Our signatures are those of the Standard Webhooks specification, by its authors' own library."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from verifier.signing.webhooks import headers, key_of, new_secret


@given(st.dictionaries(st.text(max_size=20), st.text(max_size=200), max_size=5), st.data())
def test_somebody_elses_library_accepts_what_we_sign(
    content: dict[str, str], data: st.DataObject
) -> None:
    import json

    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    body = body.decode("utf-8", "replace").encode()
    old, new = new_secret(), new_secret()
    signed = headers([key_of(new), key_of(old)], "msg_1", int(time.time()), body)
    for secret in (old, new):
        assert Webhook(secret).verify(body, signed) == json.loads(body)
    place = data.draw(st.integers(0, len(body) - 1))
    tampered = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
    with pytest.raises((WebhookVerificationError, UnicodeDecodeError)):
        Webhook(new).verify(tampered, signed)


def test_the_specifications_own_example() -> None:
    """The vector of the specification's text: secret, id, timestamp and body give this header."""
    body = b'{"test": 2432232314}'
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    found = headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    "secret",
    [
        *("", "whsec_", "whsec_c2hvcnQ=", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        *("whsec_!!!" + "A" * 32, "whsec_" + "A" * 88),
    ],
)
def test_a_secret_that_is_none_is_refused_without_being_quoted(secret: str) -> None:
    with pytest.raises(ValueError, match="whsec_ and the base64 of 24 to 64") as refused:
        key_of(secret)
    assert not secret.removeprefix("whsec_") or secret not in str(refused.value)
