"""The sandbox without its sockets: its state, and what happens to a request to a vendor.

One event loop uses it; nothing here blocks or is shared between threads.
"""

from __future__ import annotations

import asyncio
import random
import time
from pathlib import Path

from aiohttp import web

from verifier.sandbox.alibaba import AlibabaGateway
from verifier.sandbox.aliyun import Aliyun
from verifier.sandbox.camara import Camara
from verifier.sandbox.cloudauth import Cloudauth
from verifier.sandbox.credentials import ensure_credentials
from verifier.sandbox.dytns import Dytns
from verifier.sandbox.faults import EXCUSES, Fault, FaultBoard, FaultKind
from verifier.sandbox.jpush import JPush
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.misbehave import deliver_badly, to_response
from verifier.sandbox.rates import RateWindow
from verifier.sandbox.register import Register
from verifier.sandbox.reseller import Reseller
from verifier.sandbox.tencent import Tencent
from verifier.sandbox.truth import Truth
from verifier.sandbox.wire import Call, Received, Reply, Vendor


class Sandbox:
    """Register, truth, faults and the vendors of one state directory."""

    def __init__(self, directory: Path) -> None:
        self.credentials = ensure_credentials(directory)
        self.register = Register(directory / "register.jsonl")
        self.truth = Truth(directory / "truth.jsonl")
        self.faults = FaultBoard()
        seen_by = self.register.seen_by
        alibaba = AlibabaGateway(self.credentials)
        #: Asked in this order whether they speak a request.
        self.vendors: tuple[Vendor, ...] = (
            JPush(self.credentials, self.register, self.truth),
            Cloudauth(alibaba, seen_by("cloudauth")),
            Dytns(self.credentials, alibaba, seen_by("dytns")),
            Aliyun(alibaba, self.register, self.truth),  # also every unknown action of Alibaba's
            Tencent(self.credentials, seen_by("tencent")),
            Reseller(self.credentials, seen_by("reseller")),
            Camara(self.credentials, seen_by("camara")),
        )
        self._dice = random.Random(0)
        self.turn(Knobs())

    def turn(self, knobs: Knobs) -> None:
        """Use these settings from now on."""
        self.knobs = knobs
        for vendor in self.vendors:
            vendor.knobs = knobs
        self._windows: dict[tuple[str, str], RateWindow] = {}

    def vendor_of(self, received: Received) -> Vendor | None:
        """Whose wire format a request speaks, or None."""
        return next((vendor for vendor in self.vendors if vendor.speaks(received)), None)

    async def serve(
        self, vendor: Vendor, received: Received, request: web.BaseRequest
    ) -> web.Response:
        """Answer one request to a vendor, well or badly, and write it down first."""
        call = vendor.read(received)
        fault = self.faults.strike(vendor.name, call.action, time.monotonic())
        reply = self._reply(vendor, call, fault)
        self.truth.call(
            call,
            code=reply.code if reply else "",
            billed=reply.billed if reply else False,
            processed=reply is not None and (fault is None or fault.is_processed),
            fault=fault.kind.value if fault else None,
        )
        # Written down before any waiting: a client that leaves early was served all the same.
        if self.knobs.latency_ms or self.knobs.jitter_ms:
            jitter = self._dice.random() * self.knobs.jitter_ms
            await asyncio.sleep((self.knobs.latency_ms + jitter) / 1000)
        if reply is not None and (fault is None or fault.kind in EXCUSES):
            return to_response(reply)
        assert fault is not None  # noqa: S101 - no reply means that a fault struck
        return await deliver_badly(request, fault, reply)

    def _reply(self, vendor: Vendor, call: Call, fault: Fault | None) -> Reply | None:
        if fault is not None and fault.kind in EXCUSES:
            return vendor.excuse(fault.kind, call)
        if fault is not None and not fault.is_processed:
            return None
        if not self._within_rate(call):
            return vendor.excuse(FaultKind.RATE_LIMIT, call)
        return vendor.answer(call)

    def _within_rate(self, call: Call) -> bool:
        """The vendors' own limits, an action apart as Tencent documents."""
        per_second = self.knobs.per_second.get(call.vendor)
        if per_second is None:
            return True
        window = self._windows.setdefault((call.vendor, call.action), RateWindow(per_second))
        return window.allows(time.monotonic())
