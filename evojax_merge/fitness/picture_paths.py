"""The pictures that the items of a JSON Lines file name, each within the directory of the file."""

from pathlib import Path

from evojax_merge.documents.errors import DocumentError, shown
from evojax_merge.documents.files import at_home
from evojax_merge.fitness.data import DataError, Record
from evojax_merge.fitness.pictures import Picture


def pictures_of(record: Record, field: str) -> tuple[Picture, ...]:
    """The pictures of an item, at least one; none is opened.

    Args:
        record: The item.
        field: The field with the path of a picture from the directory of the file, or with a list
            of such paths.

    Raises:
        DataError: The field is something else, there is no such file, or it is not within the
            directory, be it by a link.
    """
    given = record.field(field)
    names = given if isinstance(given, list) else [given]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise DataError(
            f"{record.place}: field {field!r} is {shown(given)}; give the path of a picture from "
            "the directory of the file, or a list of such paths"
        )
    folder = at_home(record.path).parent
    return tuple(Picture(record.place, name, _file(record, folder, name)) for name in names)


def _file(record: Record, folder: Path, name: str) -> Path:
    """The file of a picture with all links followed, wherever the process goes meanwhile."""
    what = f"{record.place}: picture {shown(name)}"
    try:
        home, path = folder.resolve(), (folder / at_home(name)).resolve()
        regular, exists = path.is_file(), path.exists()
    except DocumentError as error:
        raise DataError(f"{what} {error}") from None
    except (OSError, RuntimeError) as error:  # links in a circle, names that are too long
        reason = getattr(error, "strerror", None) or "links in a circle"
        raise DataError(f"{what} leads nowhere: {reason}") from None
    allowed = [home]
    snapshot = next((one for one in (home, *home.parents) if one.parent.name == "snapshots"), None)
    if snapshot is not None:  # of a data set in the hub's cache, where files are links to blobs
        allowed.append(snapshot.parent.parent / "blobs")
    if not any(path.is_relative_to(place) for place in allowed):
        raise DataError(
            f"{what} is outside of the data's directory {home}; move it there, and give its path "
            "from there"
        )
    if not regular:
        found = "is no regular file" if exists else "no such file"
        raise DataError(f"{what}: {found} ({path})")
    return path
