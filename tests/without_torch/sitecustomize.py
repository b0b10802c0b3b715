"""For the processes that tests start: torch, which only parity tests need, is not found, as in a
user's environment, and takes no time to import."""

import sys
from importlib.machinery import PathFinder


class WithoutTorch(PathFinder):
    """Finds everything else."""

    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        return None if fullname == "torch" else super().find_spec(fullname, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTorch
