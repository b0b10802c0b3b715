"""The known name nearest to a misspelt one."""

import difflib
from collections.abc import Iterable

from evojax_merge.documents.errors import named


def nearest(name: object, known: Iterable[object], prefix: str = "") -> str:
    """The part of a message that names the nearest known name: `` (did you mean NAME?)``.

    Names are compared without case: people type ``cma_es`` for ``CMA_ES``.

    Args:
        name: What somebody wrote.
        known: The names that could have been meant.
        prefix: What stands before the name in the message, such as the path of a key.

    Returns:
        The text with a blank before it, or an empty one where no known name is near.
    """
    folded = {str(one).lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), folded, n=1)
    return f" (did you mean {prefix}{named(folded[near[0]])}?)" if near else ""
