"""Compiled programs on disk, so that no run compiles what a run before it has compiled.

JAX keeps compiled programs in a directory and finds them by what they compute, by its own version,
by the device and by the compiler's options. It asks a cache for bytes by key (`Programs`). Its own
cache would go on with a file that a killed process left half written, and would warn of it at every
program of every run. Ours checks, removes and rewrites, and is bounded.

Compiled programs are code: whoever can write the directory can have this user run anything.
"""

import contextlib
import dataclasses
import hashlib
import os
import platform
import re
import stat
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from evojax_merge.documents.arguments import check_number
from evojax_merge.documents.caches import cache_directory, shrink
from evojax_merge.documents.files import write_whole

LIMIT_GB = 5.0
SUFFIX = ".program"
_ENTRY = re.compile(rf"[0-9a-f]{{64}}{re.escape(SUFFIX)}")
_PARTIAL = re.compile(rf"\.{_ENTRY.pattern}\.\d+\.\d+")
"""What `write_whole` is writing, or what a killed process left of it."""

_LEFT = 3600.0
"""The seconds after which nobody is still writing a program."""

_TUNED = "xla_gpu_per_fusion_autotune_cache_dir"
"""The folder in which XLA keeps what it has tuned by trial on a GPU, as JAX tells it by default."""

_DIGEST = hashlib.sha256().digest_size


def default_directory() -> str:
    """The directory ``$XDG_CACHE_HOME/evojax-merge/compilations``, by default in ``~/.cache``."""
    return cache_directory("compilations")


@dataclasses.dataclass(frozen=True)
class CompilationCache:
    """A directory of compiled programs, of which those used longest ago are removed.

    Attributes:
        directory: The directory, which is made when it is used.
        limit_gb: The most that all programs take together, in 10**9 bytes.
    """

    directory: Path
    limit_gb: float = LIMIT_GB

    def __post_init__(self) -> None:
        check_number("compilation_cache.limit_gb", self.limit_gb, 0)


def default_cache() -> CompilationCache:
    """The cache of commands that have no configuration."""
    return CompilationCache(Path(default_directory()))


@contextlib.contextmanager
def keeping(cache: CompilationCache | None) -> Iterator[None]:
    """Keep the programs that are compiled within the block, and take those that are there.

    A cache that the user has given JAX (``JAX_COMPILATION_CACHE_DIR``) is used instead, as the user
    has set it up. A directory that cannot be used is one warning, and nothing is kept.

    Args:
        cache: The place of the programs; None keeps nothing.
    """
    theirs = _setting("jax_compilation_cache_dir") is not None
    if cache is None or theirs or not _setting("jax_enable_compilation_cache"):
        yield
        return
    directory = cache.directory.absolute()  # whatever the block changes to
    if (refusal := _refusal(directory)) is not None:
        _warn(directory, refusal)
        yield
        return
    changed: dict[str, Any] = {
        "jax_compilation_cache_dir": str(directory),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    if jax.default_backend() != "gpu" or not os.access(directory, os.W_OK):
        # XLA tunes nothing elsewhere, and cannot write it here; its folder is part of JAX's keys.
        changed["jax_persistent_cache_enable_xla_caches"] = "none"
    before = {name: _setting(name) for name in changed}
    try:
        for name, value in changed.items():
            jax.config.update(name, value)
        _give_to_jax(Programs(dataclasses.replace(cache, directory=directory)))
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        _give_to_jax(None)


class Programs:
    """What JAX asks for compiled programs, as its own ``jax._src.lru_cache.LRUCache``.

    It never fails. Where a file is damaged, or cannot be read or written, the first one is a
    warning. Several processes may use the same directory at once.
    """

    def __init__(self, cache: CompilationCache) -> None:
        self._path = cache.directory  # by which JAX calls a cache in its log
        self._limit = cache.limit_gb * 1e9
        self._processor = _processor()
        self._taken: float | None = None
        self._warned = False

    def get(self, key: str) -> bytes | None:
        """The program of a key; None where there is none, or none that can be trusted."""
        file = self._file(key)
        try:
            content = file.read_bytes()
            value = content[_DIGEST:]
            if hashlib.sha256(value).digest() != content[:_DIGEST]:
                file.unlink(missing_ok=True)
                raise ValueError("its sha256 is not the one it was written with")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            self._warn(f"{file.name} cannot be read ({error}) and is compiled again")
            return None
        with contextlib.suppress(OSError):  # a directory that others fill
            os.utime(file)
        return value

    def put(self, key: str, value: bytes) -> None:
        """Keep a program, and remove the oldest ones beyond the limit."""
        if len(value) + _DIGEST > self._limit:
            return
        file = self._file(key)
        content = hashlib.sha256(value).digest() + value
        try:
            write_whole(file, lambda partial: partial.write_bytes(content))
            if self._taken is not None:
                self._taken += len(content)
            if self._taken is None or self._taken > self._limit:
                self._taken = shrink(self._entries(), self._limit)
        except OSError as error:
            self._warn(f"{file.name} cannot be kept ({error})")

    def _file(self, key: str) -> Path:
        text = f"{key} {self._processor}"
        return self._path / f"{hashlib.sha256(text.encode()).hexdigest()}{SUFFIX}"

    def _entries(self) -> Iterator[Path]:
        for file in self._path.iterdir():
            if _ENTRY.fullmatch(file.name) or (_PARTIAL.fullmatch(file.name) and _is_old(file)):
                yield file
        for file in (self._path / _TUNED).glob("*"):
            if file.is_file():  # beside a folder for what is being written
                yield file

    def _warn(self, message: str) -> None:
        if not self._warned:  # what is wrong with one program is wrong with a hundred
            self._warned = True
            _warn(self._path, message)


def _setting(name: str) -> Any:
    return getattr(jax.config, name)


def _give_to_jax(programs: Programs | None) -> None:
    """Have JAX use a cache of ours, or again the one of its settings.

    JAX has no public way to do so. A version that has moved the place keeps nothing.
    """
    try:
        from jax._src import compilation_cache as place

        place.reset_cache()
        known = hasattr(place, "_cache") and hasattr(place, "_cache_initialized")
    except (ImportError, AttributeError):
        known = False
    if programs is None:
        return
    if not known:
        jax.config.update("jax_compilation_cache_dir", None)
        _warn(programs._path, f"jax {jax.__version__} takes no cache of ours")
        return
    place._cache, place._cache_initialized = programs, True  # type: ignore[assignment]


def _refusal(directory: Path) -> str | None:
    """Make the directory, for this user alone, and say why it cannot be used, or None."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = directory.stat()
    except OSError as error:
        return f"cannot be made ({error.strerror})"
    if not os.access(directory, os.R_OK | os.X_OK):
        return "cannot be read"
    if not hasattr(os, "getuid"):
        return None  # Windows says nothing of users here
    if state.st_uid not in (os.getuid(), 0):
        return "belongs to another user, who could have anything run"
    if state.st_mode & stat.S_IWOTH:
        return "can be written by all users, who could have anything run; chmod o-w it"
    return None


def _is_old(file: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):  # by now it is whole
        return time.time() - file.stat().st_mtime > _LEFT
    return False


def _processor() -> str:
    """What this machine's processor can do. A program for another one may not run on it."""
    names = ("vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU part")
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    found = sorted({line for line in lines if line.partition(":")[0].strip() in names})
    return "\n".join([platform.machine(), platform.processor(), *found])


def _warn(directory: Any, message: str) -> None:
    warnings.warn(
        f"{directory}: compiled programs: {message}; the run goes on, and what is not kept is "
        "compiled again (compilation_cache=null keeps nothing)",
        RuntimeWarning,
        stacklevel=3,
    )
