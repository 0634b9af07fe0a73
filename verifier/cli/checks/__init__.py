"""What ``verifier doctor`` and ``verifier config check`` look at.

A check never raises for what it finds: it says so. One that cannot be made, because something it
needs is broken, is left out; what it needs is reported.
"""
