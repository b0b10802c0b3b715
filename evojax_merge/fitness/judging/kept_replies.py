"""What judges replied, kept on disk, so that the same question is asked once."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evojax_merge.documents.caches import cache_directory
from evojax_merge.documents.errors import DocumentError
from evojax_merge.documents.files import at_home, read_text, write_whole
from evojax_merge.documents.json_text import load_object


class KeptReplies:
    """A folder of replies, found again by the SHA-256 of the requests.

    Nothing is removed from it: what was paid for is kept. A reply that cannot be kept is a warning.

    Args:
        directory: The folder, ``default`` for ``$XDG_CACHE_HOME/evojax-merge/replies``, by default
            in ``~/.cache``; or None to keep replies in memory alone.
    """

    def __init__(self, directory: str | None) -> None:
        self._memory: dict[str, str] = {}
        self._folder = None
        if directory is not None:
            found = cache_directory("replies") if directory == "default" else directory
            self._folder = Path(at_home(found))

    @staticmethod
    def name(request: Mapping[str, Any]) -> str:
        """The name of a request, which is the same for equal ones."""
        text = json.dumps(request, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()

    def get(self, name: str) -> str | None:
        """The reply to a request; None where it is not known."""
        if name in self._memory or self._folder is None:
            return self._memory.get(name)
        file = self._file(name)
        if not file.is_file():
            return None
        try:
            reply = load_object(read_text(file)).get("reply")
        except (OSError, DocumentError) as error:
            self._warn(f"{file}: a reply cannot be read ({error}) and is asked for again")
            return None
        if isinstance(reply, str):
            self._memory[name] = reply
        return self._memory.get(name)

    def put(self, name: str, request: Mapping[str, Any], reply: str) -> None:
        """Keep the reply to a request."""
        self._memory[name] = reply
        if self._folder is None:
            return
        entry = json.dumps({"request": request, "reply": reply}, ensure_ascii=False, indent=1)
        file = self._file(name)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, lambda partial: partial.write_text(entry, "utf-8", errors="replace"))
        except OSError as error:
            self._warn(f"{file}: a reply cannot be kept ({error}); the run goes on without")

    def _file(self, name: str) -> Path:
        assert self._folder is not None
        return self._folder / name[:2] / f"{name}.json"

    def _warn(self, message: str) -> None:
        warnings.warn(message, RuntimeWarning, stacklevel=3)
