"""The engine: claim, route, call, decide, record."""
