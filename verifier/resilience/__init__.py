"""Retry schedule and breaker: what to do when a provider does not give a result. Pure.

Pacing is the store's (:func:`verifier.store.providers.reserve`): every process shares one rate.
"""
