"""``python -m verifier.cli``: the program without its script."""

from verifier.cli import main

main()
