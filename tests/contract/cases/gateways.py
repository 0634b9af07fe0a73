"""The gateways of messages."""

from __future__ import annotations

from tests.contract.cases.common import PERSON, TOKEN, GatewayCase
from verifier.gateways.aliyun_sms import AliyunSms
from verifier.gateways.jpush import JPush
from verifier.transport import Transport


def jpush(endpoint: str, transport: Transport) -> JPush:
    return JPush(
        name="jpush",
        app_key="tests-app-key",
        master_secret="tests-secret-key",
        endpoint=endpoint,
        transport=transport,
    )


def aliyun_sms(endpoint: str, transport: Transport) -> AliyunSms:
    return AliyunSms(
        name="aliyun_sms",
        key_id="tests-key-id",
        key_secret="tests-secret-key",
        sign_name="某某科技",
        templates={"mismatched.zh": "SMS_100001", "no_record": "SMS_100002"},
        endpoint=endpoint,
        transport=transport,
    )


GATEWAYS = [
    GatewayCase("jpush", jpush, TOKEN, b'{"sendno":"0","msg_id":"18100287007462234"}'),
    GatewayCase(
        "aliyun_sms",
        aliyun_sms,
        PERSON.phone,
        b'{"Code":"OK","Message":"OK","BizId":"900619746936498440^0","RequestId":"F655A8D5"}',
    ),
]
