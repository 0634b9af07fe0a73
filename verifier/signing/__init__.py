"""Request signing, as others specify it: pure functions from a request to its headers.

:mod:`.tc3` is Tencent Cloud's TC3-HMAC-SHA256, :mod:`.acs3` Alibaba Cloud's ACS3-HMAC-SHA256,
:mod:`.webhooks` what we sign for receivers of our webhooks. All take the time as an argument and
read no clock. The tests hold them against the vendors' SDKs and the specification's own library.
"""

from __future__ import annotations
