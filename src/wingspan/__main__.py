"""``python -m wingspan``."""

from wingspan.cli import main

main()
