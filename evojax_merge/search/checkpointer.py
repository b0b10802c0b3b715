"""The saving of a search after every generation, and its finding again."""

import contextlib
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import numpy as np
import orbax.checkpoint as ocp

from evojax_merge import hosts
from evojax_merge.documents.files import sha256
from evojax_merge.search.state import EvolutionState, Spent, is_key, on_host, placed

logging.getLogger("absl").setLevel(logging.CRITICAL)  # what fails is raised, once


def _without_echoes(hook: Callable[[Any], object]) -> Callable[[Any], None]:
    """A hook for what nobody can catch, without what follows a save that has failed.

    At the first failure orbax closes the loop to which tensorstore's threads report the others.
    """

    def show(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            hook(unraisable)

    return show


sys.unraisablehook = _without_echoes(sys.unraisablehook)
logging.getLogger("asyncio").addFilter(lambda record: "orbax" not in record.getMessage())

_LONGEST = 300
"""How many characters of a storage error are worth repeating."""

_SEAL = "SHA256SUMS"
"""The file of a saved generation that lists the others, as ``sha256sum --check`` reads it."""

_SPENT = "spent.json"
"""The file of a saved generation that tells what the search had cost by then."""

_UNSEALED = {"_CHECKPOINT_METADATA", "commit_success.txt", _SEAL}
"""The files of a saved generation that orbax writes when all is done, and does not need."""


class CheckpointingError(OSError):
    """The error of a generation that cannot be saved, or read again; what is there is intact."""


class DamagedCheckpointWarning(UserWarning):
    """The warning that a saved generation is damaged; the search goes on from one before it."""


class Checkpointer:
    """What keeps the newest two generations of a search in a directory, each saved atomically.

    Saving is asynchronous: the next generation runs meanwhile, and the next call raises a failure.
    What a killed process left half-written is removed when the directory is opened. Each
    generation is sealed with the hashes of its files, so that damage is found before anything is
    read: orbax checks none of the numbers, and takes damaged structure for another one.

    Of several processes the first one has it, by itself: all of them hold the whole state, and none
    waits for another in a save. What it writes is the same, so that any number of processes can go
    on from it.
    """

    def __init__(self, directory: Path):
        self._directory = directory.absolute()
        self._saving = (0, Spent())
        alone = ocp.options.MultiprocessingOptions()
        if hosts.active():
            alone = ocp.options.MultiprocessingOptions(0, {0}, barrier_sync_key_prefix="first")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.CheckpointManager(
                self._directory,
                # Else orbax would tell what is saved by the newest generation, damaged or not.
                item_handlers=ocp.StandardCheckpointHandler(multiprocessing_options=alone),
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=2,
                    create=False,
                    cleanup_tmp_directories=True,
                    multiprocessing_options=alone,
                    async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
                ),
            )
        except OSError as error:
            raise CheckpointingError(f"{directory}: cannot hold checkpoints ({error})") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        finally:
            with contextlib.suppress(Exception):  # it repeats what `wait` has raised
                self._manager.close()

    def save(self, state: EvolutionState, spent: Spent) -> None:
        """Begin to save a completed generation, in the place of it and of all later ones.

        Args:
            state: The state after the generation.
            spent: What the search has cost so far.

        Raises:
            CheckpointingError: This save or the one before failed.
        """
        generation = int(state.generation)
        try:
            self._manager.wait_until_finished()
            for later in self._steps():  # damaged, or done again because results were lost
                if later >= generation:
                    shutil.rmtree(self._directory / str(later))
                    self._manager.reload()
            self._saving = generation, spent
            self._manager.save(generation, args=ocp.args.StandardSave(_saved(state)))
        except Exception as error:  # orbax wraps what the disk says in errors of many kinds
            raise self._failure(error) from error

    def wait(self) -> None:
        """Return when everything is on disk.

        Raises:
            CheckpointingError: Something could not be written.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise self._failure(error) from error

    def restore(self, like: EvolutionState, most: int | None = None) -> EvolutionState | None:
        """The newest saved generation that is whole, or None if there is none.

        Args:
            like: A state of the same search, whose structure, shapes and placement it takes.
            most: The newest generation that is wanted; by default, any.

        Raises:
            CheckpointingError: Generations were saved, and all are damaged, or one that is whole
                has another structure.

        Warns:
            DamagedCheckpointWarning: A newer generation is damaged.
        """
        abstract: Any = _saved(like)
        if not hosts.active():
            abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, abstract)
        damaged: dict[int, str] = {}
        for step in sorted(self._steps(), reverse=True):
            if most is not None and step > most:
                continue
            if (damage := self._damage(step)) is not None:
                damaged[step] = damage
                continue
            try:
                restored = self._manager.restore(step, args=ocp.args.StandardRestore(abstract))
            except Exception as error:  # of any kind, by what differs
                if not self._is_sealed(step):  # by an earlier version: it may be damage as well
                    damaged[step] = _first_line(error)
                    continue
                raise CheckpointingError(
                    f"{self._directory}: generation {step} was saved by another version of this "
                    "package, or by a search with other settings, whose state has other parts; go "
                    f"on with that version, or begin a new run ({_first_line(error)})"
                ) from error
            if damaged:
                warnings.warn(
                    f"{self._directory}: {_listed(damaged)}; the search goes on from generation "
                    f"{step}",
                    DamagedCheckpointWarning,
                    stacklevel=2,
                )
            return EvolutionState(**jax.tree.map(_as_free, restored, like._asdict()))
        if damaged:
            raise CheckpointingError(
                f"{self._directory}: no saved generation can be read: {_listed(damaged)}. Bring "
                "the files back from a copy, or remove this directory and resume: the search then "
                "begins again"
            )
        return None

    def spent(self, generation: int) -> Spent | None:
        """What a search had cost by a saved generation; None where that was not saved."""
        file = self._directory / str(generation) / _SPENT
        if not file.is_file():
            return None
        return Spent(**json.loads(file.read_text(encoding="utf-8")))

    def _steps(self) -> list[int]:
        return list(self._manager.all_steps())

    def _seal(self) -> None:
        """Complete the generation that is being saved, before it gets its name.

        The thread of orbax that saves calls it.
        """
        generation, spent = self._saving
        (folder,) = self._directory.glob(f"{generation}.orbax-checkpoint-tmp*")
        (folder / _SPENT).write_text(json.dumps(spent._asdict()) + "\n", encoding="utf-8")
        lines = [f"{sha256(folder / name)}  {name}\n" for name in _names(folder)]
        (folder / _SEAL).write_text("".join(lines), encoding="utf-8")

    def _is_sealed(self, step: int) -> bool:
        return (self._directory / str(step) / _SEAL).is_file()

    def _damage(self, step: int) -> str | None:
        """What is wrong with the files of a generation; None if they are as they were written."""
        folder = self._directory / str(step)
        if not self._is_sealed(step):
            # Earlier versions sealed nothing; of this one's, a generation without is not whole.
            sealed = any(map(self._is_sealed, self._steps()))
            return f"{_SEAL} is missing" if sealed else None
        try:
            text = (folder / _SEAL).read_bytes().decode()
            wanted = {name: digest for digest, name in map(str.split, text.splitlines())}
        except ValueError:  # not UTF-8, or other lines
            return f"{_SEAL} is damaged"
        for name, digest in wanted.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if sha256(folder / name) != digest:
                return f"{name} is damaged"
        return None if _SPENT in wanted else f"{_SEAL} is damaged"

    def _failure(self, error: Exception) -> CheckpointingError:
        newest = self._manager.latest_step()
        kept = "none" if newest is None else f"generation {newest}"
        return CheckpointingError(
            f"{self._directory}: a generation could not be saved ({str(error)[:_LONGEST]}). "
            f"The newest good checkpoint: {kept}. Free some space, then resume."
        )


def _names(folder: Path) -> Iterable[str]:
    """The files of a generation that are sealed, relative to its folder."""
    files = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return [file.as_posix() for file in files if str(file) not in _UNSEALED]


def _listed(damaged: dict[int, str]) -> str:
    return "; ".join(f"generation {step} cannot be read ({why})" for step, why in damaged.items())


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:100]


def _saved(state: EvolutionState) -> dict[str, Any]:
    """A state as orbax takes it: of several processes it refuses arrays that one has by itself."""
    return on_host(state._asdict()) if hosts.active() else state._asdict()


def _as_free(leaf: Any, like: Any) -> Any:
    """Leave a restored array as free to move to other devices as the one that it stands for.

    Orbax ties arrays to their device. JAX compiles another program for those. A key that several
    processes have saved is there as its numbers.
    """
    if isinstance(leaf, jax.Array) and is_key(like) == is_key(leaf):
        if getattr(like, "committed", True) or not leaf.is_fully_addressable:
            return leaf
        if is_key(leaf):
            leaf = jax.random.key_data(leaf)
    return placed(like, np.asarray(leaf))
