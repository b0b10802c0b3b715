"""The sliding windows of a result whose layers come from models that may have others."""

from collections.abc import Iterator, Mapping, Sequence

from evojax_merge.checkpoints import Checkpoint
from evojax_merge.exchange.configuration import Entry, Slice
from evojax_merge.exchange.errors import ExchangeError
from evojax_merge.models.decoder.windows import window_fields

Windows = tuple[int | None, ...]


class SliceWindows:
    """The windows of a merge's slices. Each slice takes those of one of its models."""

    def __init__(
        self, slices: Sequence[Slice], checkpoints: Mapping[str, Checkpoint], reference: str
    ) -> None:
        """Args:
        slices: The slices, with the layers of every source.
        checkpoints: The checkpoints of the models, by name.
        reference: The model whose windows count where it is in a slice that names no base.
        """
        self._slices = slices
        self._checkpoints = checkpoints
        self._reference = reference

    @property
    def layers(self) -> Windows:
        """The window of every layer of the result."""
        return tuple(window for part in self._slices for window in self._of(self._frame(part)))

    def fields(self, hf_config: Mapping[str, object]) -> dict[str, int | bool | list[str] | None]:
        """Make the entries of ``config.json`` that say these windows.

        Raises:
            ExchangeError: No entries can say them. The message says which layers have which
                windows, and from where.
        """
        try:
            return window_fields(hf_config, self.layers)
        except ValueError as error:
            first, places = 0, []
            for part in self._slices:
                frame = self._frame(part)
                places.append(f"{part.where} from layer {first}, {frame.model}")
                first += len(self._of(frame))
            raise ExchangeError(f"{error}:\n  " + "\n  ".join(places)) from None

    def differing(self) -> Iterator[tuple[str, str]]:
        """Yield the models whose windows are not those of their slice, and how they differ."""
        for part in self._slices:
            used = self._of(self._frame(part))
            for entry in part.sources:
                if (own := self._of(entry)) != used:
                    yield entry.model, f"{entry.where}: windows {own} (used: {used})"

    def _of(self, entry: Entry) -> Windows:
        windows: Windows = self._checkpoints[entry.model].config.windows
        return windows[slice(*entry.layers or (0, 0))]

    def _frame(self, part: Slice) -> Entry:
        """Return the entry whose windows count: the base's, or else the first."""
        base = part.base_model or self._reference
        return next((entry for entry in part.sources if entry.model == base), part.sources[0])
