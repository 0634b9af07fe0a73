"""The control API, ``/_sandbox/…``: JSON in, JSON out. For tests, the demo and the command line.

=======  =============  ==========================================================================
GET      health         {"ready": true, "register": phones known}
POST     reload         read ``register.jsonl`` anew
POST     register       [entry, …]: add or replace; DELETE with ["phone", …]: forget;
                        ``?vendor=``: this vendor alone believes it, until the next reload
GET      calls          verifications per phone and person (subject keys); ``?key=`` one;
                        ``?log=1&limit=N`` the calls themselves
GET      messages       accepted messages; ``?key=``, ``?reference=``, ``?vendor=``, ``?limit=``
GET      stats          totals per vendor, action and code, and the maxima that tests assert
POST     reset          {"truth", "faults", "settings": true by default; "register": false}
GET      faults         active ones; POST: set one; DELETE: lift all, or ``?id=``
GET      settings       :class:`knobs.Knobs`; POST: change some, the others stay
=======  =============  ==========================================================================
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, get_args
from urllib.parse import parse_qs

from pydantic import ValidationError

from verifier.sandbox.faults import Fault, FaultKind, VendorName
from verifier.sandbox.knobs import Knobs
from verifier.sandbox.misbehave import REDIRECT_TARGET
from verifier.sandbox.register import parse_entry
from verifier.sandbox.service import Sandbox
from verifier.sandbox.truth import Tally
from verifier.sandbox.wire import Received, Reply, dump

PREFIX = "/_sandbox/"
_Query = dict[str, str]


class Control:
    """Answers control requests. ``refuse``: closes the port for so many seconds."""

    def __init__(self, sandbox: Sandbox, refuse: Callable[[float], None]) -> None:
        self._sandbox = sandbox
        self._refuse = refuse
        self._routes: dict[tuple[str, str], Callable[[_Query, Any], Any]] = {
            ("GET", "health"): lambda _query, _body: self._health(),
            ("POST", "reload"): lambda _query, _body: {"register": sandbox.register.reload()},
            ("POST", "register"): lambda query, body: self._put(query, body),
            ("DELETE", "register"): lambda _query, body: self._remove(body),
            ("GET", "calls"): lambda query, _body: self._calls(query),
            ("GET", "messages"): lambda query, _body: self._messages(query),
            ("GET", "stats"): lambda _query, _body: self._stats(),
            ("POST", "reset"): lambda _query, body: self._reset(body),
            ("GET", "faults"): lambda _query, _body: self._faults(),
            ("POST", "faults"): lambda _query, body: self._add_fault(body),
            ("DELETE", "faults"): lambda query, _body: self._lift(query),
            ("GET", "settings"): lambda _query, _body: sandbox.knobs.model_dump(mode="json"),
            ("POST", "settings"): lambda _query, body: self._turn(body),
        }

    def answer(self, received: Received) -> Reply:
        """Never raises for a wrong request: it answers 400 or 404 and says why."""
        if received.path == REDIRECT_TARGET:
            self._sandbox.truth.redirect_followed()
            return _reply({"followed": True})
        method = self._routes.get((received.method, received.path.removeprefix(PREFIX)))
        if method is None:
            return _reply({"error": f"no {received.method} {received.path}"}, 404)
        query = {key: values[-1] for key, values in parse_qs(received.query).items()}
        try:
            body = json.loads(received.body) if received.body else None
            return _reply(method(query, body))
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()]
            return _reply({"error": "; ".join(problems)}, 400)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _reply({"error": f"{type(error).__name__}: {error}"}, 400)

    def _health(self) -> Any:
        return {"ready": True, "register": len(self._sandbox.register)}

    def _put(self, query: _Query, body: Any) -> Any:
        entries = [parse_entry(row) for row in body]
        if "vendor" not in query:
            self._sandbox.register.put(entries)
        elif query["vendor"] in get_args(VendorName):
            self._sandbox.register.tell(query["vendor"], entries)
        else:
            raise ValueError(f"vendor must be one of {', '.join(get_args(VendorName))}")
        return self._health()

    def _remove(self, body: Any) -> Any:
        self._sandbox.register.remove([str(phone) for phone in body])
        return self._health()

    def _calls(self, query: _Query) -> Any:
        truth, key = self._sandbox.truth, query.get("key")
        truth.flush()
        if "log" in query:
            return truth.log(key, int(query.get("limit", "1000")))
        if key is not None:
            return asdict(truth.phones.get(key) or truth.people.get(key) or Tally())
        return {
            "phones": {key: asdict(tally) for key, tally in truth.phones.items()},
            "people": {key: asdict(tally) for key, tally in truth.people.items()},
        }

    def _messages(self, query: _Query) -> Any:
        truth = self._sandbox.truth
        truth.flush()
        wanted = {"recipient": "key", "reference": "reference", "vendor": "vendor"}
        filters = {field: query[name] for field, name in wanted.items() if name in query}
        found = [
            asdict(message)
            for message in truth.messages
            if all(getattr(message, field) == value for field, value in filters.items())
        ]
        return found[-int(query.get("limit", "1000")) :]

    def _stats(self) -> Any:
        truth = self._sandbox.truth
        truth.flush()
        phones, people = list(truth.phones.values()), list(truth.people.values())
        return {
            "register": len(self._sandbox.register),
            "totals": truth.totals,
            "calls": sum(sum(codes.values()) for codes in truth.totals.values()),
            "billed": sum(tally.billed for tally in people),
            "phones": len(phones),
            "people": len(people),
            "most_calls_per_phone": max((tally.calls for tally in phones), default=0),
            "most_processed_per_person": max((tally.processed for tally in people), default=0),
            "most_billed_per_person": max((tally.billed for tally in people), default=0),
            "messages": len(truth.messages),
            "most_messages_per_reference": max(map(len, truth.by_reference.values()), default=0),
            "redirects_followed": truth.redirects_followed,
        }

    def _reset(self, body: Any) -> Any:
        what = {"truth": True, "faults": True, "settings": True, "register": False, **(body or {})}
        if what["truth"]:
            self._sandbox.truth.reset()
        if what["faults"]:
            self._sandbox.faults.remove()
        if what["settings"]:
            self._sandbox.turn(Knobs())
        if what["register"]:
            self._sandbox.register.clear()
        return what

    def _faults(self) -> Any:
        return [active.to_json() for active in self._sandbox.faults.active(time.monotonic())]

    def _add_fault(self, body: Any) -> Any:
        fault = Fault.model_validate(body)
        active = self._sandbox.faults.add(fault, time.monotonic())
        if fault.kind is FaultKind.REFUSE and fault.seconds is not None:
            self._refuse(fault.seconds)
        return active.to_json()

    def _lift(self, query: _Query) -> Any:
        identifier = int(query["id"]) if "id" in query else None
        return {"lifted": self._sandbox.faults.remove(identifier)}

    def _turn(self, body: Any) -> Any:
        current = self._sandbox.knobs.model_dump(exclude_unset=True)
        self._sandbox.turn(Knobs.model_validate({**current, **body}))
        return self._sandbox.knobs.model_dump(mode="json")


def _reply(document: Any, status: int = 200) -> Reply:
    return Reply(status, dump(document))
