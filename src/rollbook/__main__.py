"""`python -m rollbook`."""

from rollbook.cli import main

main()
