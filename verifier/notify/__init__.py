"""Results go back: signed webhooks, and tasks that callers named, from an outbox.

Nothing here is on the way of a verification. The feed of settled verifications is cut into
deliveries after the fact (:mod:`verifier.store.outbox`); :mod:`.dispatch` sends what is due, an
endpoint at a time and never one twice at once, each within its total deadline; :mod:`.policy` says
when to try again. An endpoint that hangs, fails or is gone costs itself time and nobody else.

Promised: at least once, until an endpoint has failed for as long as its ``give_up_hours``; then the
delivery is ``dead``, shown to operators and theirs to retry. Not promised: exactly once, or order
after a failure. Receivers tell repeats by ``webhook-id``.
"""
