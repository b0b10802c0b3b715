"""A run whose winner two processes hold in parts: ``python -m tests.hosts.split DIR KEY=VALUE``.

It prints how many leaves of the winner no process holds whole, and how many there are.
"""

import json
import sys

from evojax_merge import api
from evojax_merge.params.on_host import is_apart
from evojax_merge.params.tree import flatten

if __name__ == "__main__":
    directory, *overrides = sys.argv[1:]
    done = api.evolve(overrides, directory)
    assert done.model is not None
    leaves = flatten(done.model.params).values()
    print(json.dumps([sum(map(is_apart, leaves)), len(leaves)]))
