"""Celery workers: one module a queue. A task parses, calls one function of ``verifier``, and
returns counts. Everything that matters is in PostgreSQL; a message only says "there is work"."""
