"""Every provider, built against an endpoint: the parameters of the contract's suites.

A new provider joins them all by a room beside this one and a line here.
"""

from __future__ import annotations

from tests.contract.cases import aliyun, camara, generic, tencent

PROVIDERS = [
    *tencent.CASES,
    *aliyun.CLOUDAUTH,
    *aliyun.DYTNS,
    *camara.CASES,
    *generic.CASES,
]
