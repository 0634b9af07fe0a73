"""Batch verification of phone numbers against carriers, nightly self-audit and reminders.

Services import :mod:`verifier.client`; operators use the ``verifier`` command; Celery loads
:mod:`workers.app`. See ``docs/`` for the guarantees and their limits.
"""

__version__ = "0.1.0"
