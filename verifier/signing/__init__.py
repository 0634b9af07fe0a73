"""Request signing, as the vendors specify it: pure functions from a request to its headers.

:mod:`.tc3` is Tencent Cloud's TC3-HMAC-SHA256, :mod:`.acs3` Alibaba Cloud's ACS3-HMAC-SHA256. Both
take the time as an argument and read no clock. The tests hold them against the vendors' own SDKs.
"""

from __future__ import annotations
