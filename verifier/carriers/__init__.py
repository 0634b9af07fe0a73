"""APIs that can verify numbers: one file a provider, and ``base.py``, the contract they keep."""
