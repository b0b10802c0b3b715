"""Saving a search after every generation, and finding it again."""

import contextlib
import logging
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import orbax.checkpoint as ocp

from evojax_merge.evolution.state import EvolutionState

logging.getLogger("absl").setLevel(logging.CRITICAL)  # what fails is raised, once


_LONGEST = 300
"""Characters of a storage error worth repeating."""


class CheckpointingError(OSError):
    """A generation could not be saved, or what was saved not be read; what is there is intact."""


class Checkpointer:
    """Keeps the newest two generations of a search in a directory, each saved atomically.

    Saving is asynchronous: the next generation runs meanwhile, and a failure is raised by the next
    call. What a killed process left half-written is removed when the directory is opened.
    """

    def __init__(self, directory: Path):
        self._directory = directory.absolute()
        try:
            self._manager = ocp.CheckpointManager(
                self._directory,
                options=ocp.CheckpointManagerOptions(
                    max_to_keep=2, create=True, cleanup_tmp_directories=True
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

    def save(self, state: EvolutionState) -> None:
        """Begin to save a completed generation.

        Raises:
            CheckpointingError: This save, or the one before, failed.
        """
        generation = int(state.generation)
        try:
            self._manager.save(generation, args=ocp.args.StandardSave(state._asdict()))
        except Exception as error:  # orbax wraps what the disk says in errors of many kinds
            raise self._failure(error) from error

    def wait(self) -> None:
        """Return when everything is on disk.

        Raises:
            CheckpointingError: It could not be written.
        """
        try:
            self._manager.wait_until_finished()
            self._manager.check_for_errors()
        except Exception as error:
            raise self._failure(error) from error

    def restore(self, like: EvolutionState) -> EvolutionState | None:
        """The newest saved generation, None if there is none.

        Args:
            like: A state of the same search, whose structure, shapes and placement it takes.

        Raises:
            CheckpointingError: What was saved has another structure.
        """
        newest = self._manager.latest_step()
        if newest is None:
            return None
        abstract: Any = jax.tree.map(ocp.utils.to_shape_dtype_struct, like._asdict())
        try:
            restored = self._manager.restore(newest, args=ocp.args.StandardRestore(abstract))
        except ValueError as error:  # orbax's lists every part of both
            raise CheckpointingError(
                f"{self._directory}: generation {newest} was saved by another version of this "
                "package, or by a search with other settings, whose state has other parts; go on "
                f"with that version, or begin a new run ({str(error).splitlines()[0][:100]})"
            ) from error
        return EvolutionState(**restored)

    def _failure(self, error: Exception) -> CheckpointingError:
        newest = self._manager.latest_step()
        kept = "none" if newest is None else f"generation {newest}"
        return CheckpointingError(
            f"{self._directory}: a generation could not be saved ({str(error)[:_LONGEST]}). "
            f"The newest good checkpoint: {kept}. Free some space, then resume."
        )
