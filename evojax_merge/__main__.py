"""``python -m evojax_merge``."""

from evojax_merge.cli import main

main()
