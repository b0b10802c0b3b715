"""Processes of a run as threads of one, with the store of JAX's coordinator in a mapping."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from evojax_merge.hosts.group import Group


class Client:
    """What JAX gives to reach its key-value store, as far as it is used."""

    def __init__(self, store=None):
        self.store = {} if store is None else store
        self._lock = threading.Lock()

    def key_value_set_bytes(self, key, value, allow_overwrite=False):
        with self._lock:
            if key in self.store and not allow_overwrite:
                raise RuntimeError(f"ALREADY_EXISTS: {key}")
            self.store[key] = value

    def key_value_set(self, key, value, allow_overwrite=False):
        self.key_value_set_bytes(key, value.encode(), allow_overwrite)

    def blocking_key_value_get_bytes(self, key, timeout_in_ms):
        until = time.monotonic() + timeout_in_ms / 1000
        while time.monotonic() < until:
            if key in self.store:
                return self.store[key]
            time.sleep(0.001)
        raise RuntimeError(f"DEADLINE_EXCEEDED: {key}")

    def key_value_dir_get(self, key):
        with self._lock:
            return [(k, v.decode()) for k, v in self.store.items() if k.startswith(key)]

    def key_value_delete(self, key):
        with self._lock:
            for one in [one for one in self.store if one.startswith(f"{key}/")]:
                del self.store[one]


def groups(count=2):
    """The processes of a run, each as it sees all of them."""
    client = Client()
    made = [Group(client, index, count) for index in range(count)]
    for group in made:
        group.names = [f"process {index} on host{index}" for index in range(count)]
    return made


def in_all(function, made):
    """What a function of a group gives in each process at the same time, or the error."""

    def run(group):
        try:
            return function(group)
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(made)) as pool:
        return list(pool.map(run, made))
