"""What several papers share inside a candidate's program."""
