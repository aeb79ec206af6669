"""``python -m javisbench``."""

from javisbench.cli import main

main()
