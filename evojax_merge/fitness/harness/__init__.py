"""Tasks of lm-evaluation-harness as fitness tasks.

The harness makes the prompts, and judges what models answer. In between stands this package's own
engine in the place of the harness's models. Nothing of the harness is imported before a task of it
is chosen.
"""
