"""Retry schedule, pacing, breaker: what to do when a provider does not give a result. Pure."""
