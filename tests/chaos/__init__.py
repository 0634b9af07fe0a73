"""Faults struck at a batch in full flight, and the promises that must hold afterwards.

One set of scenarios, used by pytest with 2,000 users and by ``make chaos`` with 10,000 and any
seed. Real servers, real HTTP, real processes; what is true is known to the sandbox alone.
"""
