"""Tencent's codes and words, and the replies made of them.

Errors come inside HTTP 200; ``Result`` is a string, and means something else for each action;
``Content-Type`` is exactly ``application/json`` (the vendor's SDK depends on that). Documents
1007/39764, 1007/55050, and the SDK's models.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from verifier.outcomes import Lane
from verifier.sandbox.judge import Found, Ruling
from verifier.sandbox.wire import Reply, dump

DIGEST_ACTION = "EncryptedPhoneVerification"
#: What the records say → Result and ResultDetail of PhoneVerification.
RESULTS = {
    Found.MATCH: ("0", ""),
    Found.NAME_DIFFERS: ("-4", "PhoneNameMismatch"),
    Found.ID_DIFFERS: ("-4", "PhoneIdCardMismatch"),
    Found.BOTH_DIFFER: ("-4", "PhoneNameIdCardMismatch"),
    Found.BAD_PHONE: ("-6", ""),
    Found.BAD_ID_NUMBER: ("-7", ""),
    Found.BAD_NAME: ("-8", ""),
    Found.NO_RECORD: ("-9", ""),
    Found.SEGMENT: ("-13", ""),
}
#: EncryptedPhoneVerification documents neither "-6" nor "-13"; its "-8" is a bad parameter.
_RESULTS_OF_DIGESTS = {
    Found.MATCH: "0",
    Found.NAME_DIFFERS: "-4",
    Found.ID_DIFFERS: "-4",
    Found.BOTH_DIFFER: "-4",
    Found.BAD_PHONE: "-8",
    Found.BAD_ID_NUMBER: "-7",
    Found.BAD_NAME: "-8",
    Found.NO_RECORD: "-9",
    Found.SEGMENT: "-9",
}
#: Action → the Results it bills; the others bill "0" and "-4".
_BILLED = {
    "MobileStatus": frozenset({"0"}),
    "MobileNetworkTimeVerification": frozenset({"0", "-2", "-3"}),
}
_BUSY = {"MobileStatus": "-3", "MobileNetworkTimeVerification": "-4"}
_ISP = {Lane.CMCC: "移动", Lane.CUCC: "联通", Lane.CTCC: "电信"}
_THREE_ELEMENTS = {
    "0": "认证通过",
    "-4": "信息不一致",
    "-6": "手机号码不合法",
    "-7": "身份证号码有误",
    "-8": "姓名校验不通过",
    "-9": "没有记录",
    "-11": "验证中心服务繁忙",
    "-13": "不支持的号段",
}
_DESCRIPTIONS = {
    DIGEST_ACTION: _THREE_ELEMENTS | {"-8": "参数错误"},
    "MobileStatus": {
        "0": "成功",
        "-1": "未查询到结果",
        "-2": "手机号格式不正确",
        "-3": "验证中心服务繁忙",
        "-13": "该号段不支持验证",
    },
    "MobileNetworkTimeVerification": {
        "0": "成功",
        "-1": "手机号格式不正确",
        "-2": "手机号不存在",
        "-3": "手机号存在,但无法查询到在网时长",
        "-4": "验证中心服务繁忙",
        "-13": "该号段不支持验证",
    },
}


def verified(action: str, ruling: Ruling, *, detailed: bool) -> Reply:
    """The answer to three elements."""
    isp = _ISP.get(ruling.carrier, "") if ruling.carrier else ""
    if action == DIGEST_ACTION:
        return result(action, _RESULTS_OF_DIGESTS[ruling.found], ISP=isp)
    code, detail = RESULTS[ruling.found]
    if action != "PhoneVerification":
        return result(action, code, Isp=isp)
    return result(action, code, Isp=isp, ResultDetail=detail if detailed else "")


def busy(action: str) -> Reply:
    return result(action, _BUSY.get(action, "-11"))


def result(action: str, code: str, **fields: Any) -> Reply:
    response = {
        "Result": code,
        "Description": _DESCRIPTIONS.get(action, _THREE_ELEMENTS).get(code, "未知结果"),
        **fields,
        "RequestId": str(uuid4()),
    }
    billed = code in _BILLED.get(action, frozenset({"0", "-4"}))
    return Reply(200, dump({"Response": response}), code=code, billed=billed)


def error(code: str, message: str) -> Reply:
    response = {"Error": {"Code": code, "Message": message}, "RequestId": str(uuid4())}
    return Reply(200, dump({"Response": response}), code=code)
