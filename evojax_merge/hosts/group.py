"""What processes that run together agree on, by the key-value store of JAX's coordinator.

Every process calls the same functions in the same order. No device takes part, so that nobody is
left in a collective when another one fails: who waits here looks around.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

_PREFIX = "evojax-merge"
_POLL = 500
"""The milliseconds after which who waits looks whether another process has failed."""

_CHUNK = 2**20
"""The bytes of a value; a longer one goes in several."""


_LONGEST = 100
"""The characters of a fact that a message shows."""

_MOST = 3
"""How many facts that differ a message lists."""


class HostsError(ValueError):
    """The error that processes cannot go on together; its message says which and why.

    Attributes:
        common: Whether all processes raise it, so that one of them can say it for all.
    """

    def __init__(self, message: str, *, common: bool = False) -> None:
        super().__init__(message)
        self.common = common


class Group:
    """The processes of a run, with this one among them.

    Attributes:
        index: Which one this is.
        count: How many there are.
        client: What JAX gives to reach its coordinator.
        failure: What another process has failed of, once it is known.
        told: Whether that has been raised here.
        running: Whether a run is under way here, which a failure elsewhere ends.
        names: What messages call each process.
    """

    def __init__(self, client: Any, index: int, count: int) -> None:
        self.client, self.index, self.count = client, index, count
        self.failure: str | None = None
        self.told = self.running = False
        self.names = [f"process {other}" for other in range(count)]
        self._number, self._kept = 0, 1

    def agree(self, value: bytes | None) -> bytes:
        """The bytes that process 0 gives."""
        key = self._next()
        if self.index == 0:
            assert value is not None
            self._set(key, value)
            return value
        return self.wait(key)

    def gather(self, value: Any) -> list[Any]:
        """What each process gives, in their order; it must be plain values."""
        key = self._next()
        self._set(f"{key}/{self.index}", json.dumps(value).encode())
        if self.index == 0:
            every = b"[%s]" % b",".join(self.wait(f"{key}/{other}") for other in range(self.count))
            self._set(f"{key}/all", every)
            for old in range(self._kept, self._number):  # whoever has come here needs them no more
                with contextlib.suppress(RuntimeError):
                    self.client.key_value_delete(f"{_PREFIX}/{old}")
            self._kept = self._number
            return json.loads(every)
        return json.loads(self.wait(f"{key}/all"))

    def compare(self, what: str, facts: Mapping[str, str], remedy: str) -> None:
        """Check that all processes know the same facts (see `compare`)."""
        first, *others = self.gather(dict(facts))
        for index, other in enumerate(others, start=1):
            apart = [name for name in {**first, **other} if first.get(name) != other.get(name)]
            if apart:
                listed = "; ".join(
                    f"{name} is {_shown(other.get(name))} instead of {_shown(first.get(name))}"
                    for name in apart[:_MOST]
                )
                more = f"; and {len(apart) - _MOST} more" if len(apart) > _MOST else ""
                raise HostsError(
                    f"{self.names[index]} has other {what} than {self.names[0]}: {listed}{more}. "
                    f"{remedy}",
                    common=True,
                )

    def wait(self, key: str) -> bytes:
        """The value of a key, as soon as it is there.

        Raises:
            HostsError: Another process has failed meanwhile.
        """
        count = int(self._poll(f"{key}/count"))
        return b"".join(self._poll(f"{key}/{part}") for part in range(count))

    def raise_failure(self) -> None:
        """Raise what another process has failed of, if one has."""
        if self.failure is not None:
            self.told = True
            raise HostsError(self.failure)

    def _poll(self, key: str) -> bytes:
        while True:
            self.raise_failure()
            try:
                return self.client.blocking_key_value_get_bytes(key, _POLL)
            except RuntimeError as error:
                if "DEADLINE_EXCEEDED" not in str(error):
                    raise HostsError(
                        f"{self.names[0]}, which coordinates the others, has ended or cannot be "
                        f"reached ({first_line(error)}); see its output, then resume"
                    ) from error

    def _set(self, key: str, value: bytes) -> None:
        parts = [value[first : first + _CHUNK] for first in range(0, len(value), _CHUNK)]
        for number, part in enumerate(parts):
            self.client.key_value_set_bytes(f"{key}/{number}", part)
        self.client.key_value_set_bytes(f"{key}/count", b"%d" % len(parts))

    def _next(self) -> str:
        self._number += 1
        return f"{_PREFIX}/{self._number}"


_group: Group | None = None


def set_group(group: Group | None) -> None:
    """Say which processes run together from now on; None is this one alone."""
    global _group
    _group = group


def active() -> Group | None:
    """The processes that run together; None where this one is alone."""
    return _group


def is_first() -> bool:
    """Whether this is the process that writes, which is the one with number 0."""
    return _group is None or _group.index == 0


def agree(value: Any) -> Any:
    """The value that process 0 gives, in every process; others may give anything.

    Args:
        value: Plain values, as JSON holds them.
    """
    if _group is None:
        return value
    return json.loads(_group.agree(json.dumps(value).encode() if _group.index == 0 else None))


def agree_bytes(value: Callable[[], bytes]) -> bytes:
    """The bytes that process 0 makes, in every process."""
    if _group is None:
        return value()
    return _group.agree(value() if _group.index == 0 else None)


def most(value: int) -> int:
    """The greatest of what all processes give."""
    return value if _group is None else max(_group.gather(value))


def least(value: int) -> int:
    """The least of what all processes give."""
    return value if _group is None else min(_group.gather(value))


def any_of(flag: bool) -> bool:
    """Whether a flag is set in any process."""
    return bool(most(int(flag)))


def barrier() -> None:
    """Return when all processes have come here."""
    if _group is not None:
        _group.gather(None)


def compare(what: str, facts: Mapping[str, str], remedy: str) -> None:
    """Check that all processes know the same facts.

    Args:
        what: What messages call the facts.
        facts: The facts by name, in short texts.
        remedy: What to do where they differ.

    Raises:
        HostsError: They differ; in all processes alike, with the names of the hosts.
    """
    if _group is not None:
        _group.compare(what, facts, remedy)


def check_same(what: str, *content: bytes) -> None:
    """Check that all processes have computed the same bytes.

    Args:
        what: What messages call them.
        content: The bytes, of which only the hash is sent.

    Raises:
        HostsError: They differ; in all processes alike.
    """
    if _group is None:
        return
    digest = hashlib.sha256()
    for part in content:
        digest.update(part)
    compare(
        "numbers",
        {what: digest.hexdigest()[:16]},
        "Hosts compute the same bits only on the same kind of processors and devices",
    )


def first_line(error: BaseException) -> str:
    """The first line of an error, cut to what a message can show."""
    return (str(error).splitlines() or [type(error).__name__])[0][:160]


def _shown(fact: str | None) -> str:
    if fact is None:
        return "missing"
    return fact if len(fact) <= _LONGEST else f"{fact[:_LONGEST]}…"
