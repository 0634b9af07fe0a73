"""The ``verifier`` command: click, one module a noun, each loaded when it is called.

Manners: data on standard output, talk on standard error; ``--json`` on every read; documented exit
codes (:mod:`verifier.errors`); no personal data in arguments or output. Nothing here decides
anything: a command parses, calls the rooms below, and shows what they return.
"""

from __future__ import annotations

import sys


def main() -> None:
    """The entry point of the ``verifier`` program."""
    from verifier.cli.faults import run
    from verifier.cli.root import cli

    sys.exit(run(cli))
