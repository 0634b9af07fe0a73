"""The whole system on one machine: embedded servers, a process supervisor, the demo.

:mod:`.stack` starts and stops everything; :mod:`.servers` only PostgreSQL and Valkey. In
production none of this runs: a process manager keeps the Procfile's processes.
"""
