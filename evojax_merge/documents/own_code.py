"""Functions of the user's own, in a file or a module, and the hashes of the files."""

import contextlib
import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from evojax_merge.documents.errors import DocumentError, named, shown
from evojax_merge.documents.files import at_home, open_regular
from evojax_merge.documents.nearest import nearest
from evojax_merge.documents.own_imports import imported_beside

_FORMS = "give FILE.py:FUNCTION, or MODULE:FUNCTION"


class OwnCodeError(ValueError):
    """Code of the user's own is not there, or cannot be imported."""


class OwnCode(NamedTuple):
    """A function of the user's own.

    Attributes:
        spec: How the user named it.
        function: The function, or anything else that can be called.
        file: The file that it was read from; None where that is no Python source.
        sha256: The SHA-256 of the file's bytes, in hexadecimal; empty where there is no file.
        imported: The SHA-256 of each file that it imports from beside its own, by absolute paths.
    """

    spec: str
    function: Callable[..., Any]
    file: Path | None = None
    sha256: str = ""
    imported: Mapping[Path, str] = {}

    @property
    def files(self) -> dict[Path, str]:
        """The SHA-256 of every file that is read."""
        return {**({} if self.file is None else {self.file: self.sha256}), **self.imported}

    def failed(self, error: BaseException) -> str:
        """An exception that came out of it, on one line: what it says, and the user's own line."""
        return _failed(error, {str(file) for file in self.files})


def load_own(spec: str, where: str) -> OwnCode:
    """Import a function of the user's own.

    A file is looked for from the directory where the user stands, and so is a module before any
    that is installed. Modules beside the file can be imported by it. A file is read once for as
    long as it stays the same.

    Args:
        spec: ``file.py:name``, ``module:name`` or ``module.name``.
        where: The key that names it, with which messages begin.

    Raises:
        OwnCodeError: There is no such file, module or name, it cannot be called, or importing it
            raises something.
    """
    place, name = _parts(spec, where)
    file = _file_of(place, where)
    if file is not None:
        module, files = _read(file, where)
    else:
        module, files = _import(place, where)
    if not (name and hasattr(module, name)):
        raise OwnCodeError(f"{where}: {_lacks(place, name, module)}")
    found = getattr(module, name)
    if not callable(found):
        raise OwnCodeError(
            f"{where}: {named(name)} of {printed(place)} is {shown(found)}; give a function"
        )
    if not files:
        return OwnCode(spec, found)
    (first, digest), *others = files.items()
    return OwnCode(spec, found, first, digest, dict(others))


def is_own_file(spec: object) -> bool:
    """Whether a text names a function in a file, as ``file.py:name``."""
    return isinstance(spec, str) and spec.rpartition(":")[0].endswith(".py")


def printed(path: str | Path) -> str:
    """A path as messages show it: from the directory where the user stands, if it is below it."""
    with contextlib.suppress(ValueError):
        path = Path(path).relative_to(Path.cwd())
    return named(str(path))


def _parts(spec: str, where: str) -> tuple[str, str]:
    if not isinstance(spec, str) or not spec:
        raise OwnCodeError(f"{where} is {shown(spec)}; {_FORMS}")
    place, colon, name = spec.rpartition(":")
    if not colon and spec.endswith(".py"):
        return spec, ""
    if not colon:
        place, _, name = spec.rpartition(".")
    if not place or not name.isidentifier():
        raise OwnCodeError(f"{where} is {shown(spec)}; {_FORMS}")
    return place, name


def _file_of(place: str, where: str) -> Path | None:
    """The file that a place names, or the one in the user's directory that a module is."""
    if not place.endswith(".py"):
        file = Path.cwd() / f"{place}.py"
        return file if place.isidentifier() and file.is_file() else None
    try:
        file = Path.cwd() / at_home(place)
        with open_regular(file):
            return file.resolve()
    except DocumentError as error:
        others = [one.name for one in sorted(file.parent.glob("*.py"))]
        hint = nearest(file.name, others) or f"; it is looked for in {file.parent}"
        raise OwnCodeError(f"{where}: {named(place)}: {error}{hint}") from None
    except OSError as error:
        raise OwnCodeError(f"{where}: {named(place)}: {error.strerror}") from None


_READ: dict[Path, tuple[ModuleType, dict[Path, str]]] = {}
"""The modules that were made of files, and the hashes of the files."""


def _read(file: Path, where: str) -> tuple[ModuleType, dict[Path, str]]:
    """The module that a file is, and the hash of each file that it consists of, its own first."""
    content = file.read_bytes()
    own = {file: hashlib.sha256(content).hexdigest()}
    files = own | imported_beside(file, file.parent)
    if file in _READ:
        if _READ[file][1] == files:
            return _READ[file]
        _forget(_READ.pop(file))
    name = _module_name(file, own[file])
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importable(file.parent):
            exec(compile(content, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        _forget((module, files))
        raise _broken(where, file, error, files) from error
    _READ[file] = module, files
    return module, files


def _import(place: str, where: str) -> tuple[ModuleType, dict[Path, str]]:
    """A module by its name, and the hash of each file that it consists of."""
    try:
        with _importable(Path.cwd()):
            module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name and (place == error.name or place.startswith(error.name + ".")):
            raise OwnCodeError(
                f"{where}: there is no module {named(place)}, neither in {Path.cwd()} nor "
                f"installed; {_FORMS}"
            ) from None
        raise _broken(where, place, error, {}) from error
    except (Exception, SystemExit) as error:
        raise _broken(where, place, error, {}) from error
    source = getattr(module, "__file__", None)
    if source is None or not source.endswith(".py"):
        return module, {}
    file = Path(source).resolve()
    root = file.parents[place.count(".") + (file.name == "__init__.py")]
    installed = "site-packages" in file.parts
    beside = {} if installed else imported_beside(file, root)
    return module, {file: hashlib.sha256(file.read_bytes()).hexdigest()} | beside


def _module_name(file: Path, digest: str) -> str:
    """The name of the file, unless something else that is imported or installed is called so."""
    if file.stem.isidentifier() and file.stem not in sys.modules:
        with contextlib.suppress(ImportError, ValueError):
            found = importlib.util.find_spec(file.stem)
            if found is None or found.origin == str(file):
                return file.stem
    return f"own_{file.stem}_{digest[:8]}"


def _forget(read: tuple[ModuleType, Mapping[Path, str]]) -> None:
    """Make Python read a file, and those that it imports from beside it, anew."""
    places = set(map(str, read[1]))
    for name, module in list(sys.modules.items()):
        if module is read[0] or getattr(module, "__file__", None) in places:
            del sys.modules[name]


@contextlib.contextmanager
def _importable(directory: Path) -> Iterator[None]:
    """A block in which modules of a directory come first; after it they come last.

    What a function imports when it is called is still found then, and a file of the user's that is
    called like a library does not take the library's place.
    """
    place = str(directory)
    importlib.invalidate_caches()
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
        if place not in sys.path:
            sys.path.append(place)


def _lacks(place: str, name: str, module: ModuleType) -> str:
    own = [
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]
    there = f"; it has {', '.join(own[:8])}" if own else ""
    if not name:
        return f"{printed(place)} names no function of the file; {_FORMS}{there}"
    return f"{printed(place)} has no {named(name)}{nearest(name, own) or there or f'; {_FORMS}'}"


def _broken(
    where: str, place: str | Path, error: BaseException, files: Mapping[Path, str]
) -> OwnCodeError:
    told = _failed(error, set(map(str, files)))
    return OwnCodeError(f"{where}: {printed(place)} cannot be imported: {told}")


def _failed(error: BaseException, files: set[str]) -> str:
    said = " ".join(str(error).split())
    said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    said = said if len(said) <= 400 else f"{said[:400]}…"
    if isinstance(error, SyntaxError):  # which says its line itself
        return said
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return said
    frame = next((one for one in reversed(frames) if one.filename in files), frames[-1])
    inside = "" if frame.name == "<module>" else f", in {frame.name}"
    return f"{said} ({Path(frame.filename).name}, line {frame.lineno}{inside})"
