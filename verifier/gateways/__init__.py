"""APIs that can reach a person: one file a gateway, and ``base.py``, the contract they keep."""
