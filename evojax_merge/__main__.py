"""The program that ``python -m evojax_merge`` runs."""

from evojax_merge.cli import main

main()
