"""Benchmarks: how much a verified user costs, beside the same job as a tutorial would do it.

Nothing here is timed by a test. The box may be busy, so CPU time per user is the figure to trust,
and what is compared is measured in one run, in turns.
"""
