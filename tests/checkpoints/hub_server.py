"""A stand-in for the Hugging Face hub: the few addresses that an upload asks for, in memory."""

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote


class Hub:
    """What the stand-in holds, and whom it lets in.

    Attributes:
        address: Where it is.
        files: The files of each branch of each repository.
        private: Whether each repository is private.
        commits: The messages, newest last.
        writers: The tokens that may write, and the owners that they may write to.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[tuple[str, str], dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.commits: list[str] = []
        self.blobs: dict[str, bytes] = {}
        self.writers = {"hf_writer": "me"}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: Any) -> None:
        pass

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _answer(self, status: int, found: Any) -> None:
        text = json.dumps(found).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        if status >= 400:
            self.send_header("x-error-message", found["error"])
        self.end_headers()
        self.wfile.write(text)

    def _owner(self) -> str | None:
        return self.hub.writers.get(self.headers.get("authorization", "").removeprefix("Bearer "))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/whoami-v2":
            if self._owner() is None:
                self._answer(401, {"error": "Invalid user token."})
            else:
                self._answer(200, {"name": self._owner(), "type": "user", "orgs": []})
            return
        words = path.split("/")
        if path.startswith("/api/models/") and len(words) > 6 and words[5] == "tree":
            files = self.hub.files.get(("/".join(words[3:5]), unquote(words[6])), {})
            tree = [
                {"type": "file", "path": name, "size": len(text), "oid": "0" * 40}
                for name, text in files.items()
            ]
            self._answer(200, tree)
            return
        if path.startswith("/api/models/"):
            name = "/".join(words[3:5])
            known = any(repository == name for repository, _ in self.hub.files)
            found = {"id": name, "sha": "0" * 40, "siblings": []}
            self._answer(200 if known else 404, found if known else {"error": "Not found"})
            return
        self._answer(404, {"error": "Not found"})

    def do_PUT(self) -> None:
        self.hub.blobs[self.path.rpartition("/")[2]] = self._body()
        self._answer(200, {})

    def do_POST(self) -> None:
        body, path = self._body(), self.path.partition("?")[0]
        if path == "/api/validate-yaml":
            self._answer(200, {"warnings": [], "errors": []})
            return
        if path == "/api/repos/create":
            given = json.loads(body)
            owner = given.get("organization") or self._owner()
            if owner != self._owner():
                self._answer(403, {"error": "You don't have the rights to create a model there"})
                return
            name = f"{owner}/{given['name']}"
            known = (name, "main") in self.hub.files
            if not known:
                self.hub.files[name, "main"] = {}
                private = given.get("private") or given.get("visibility") == "private"
                self.hub.private[name] = bool(private)
            found = {"url": f"{self.hub.address}/{name}", "error": "You already created this model"}
            self._answer(409 if known else 200, found)
            return
        words = path.split("/")
        if path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**one, "actions": {"upload": {"href": f"{self.hub.address}/blob/{one['oid']}"}}}
                for one in json.loads(body)["objects"]
            ]
            self._answer(200, {"transfer": "basic", "objects": objects})
            return
        name, what, revision = "/".join(words[3:5]), words[5], unquote(words[6])
        if what == "branch":
            self.hub.files.setdefault((name, revision), dict(self.hub.files[name, "main"]))
            self._answer(200, {})
        elif what == "preupload":
            files = [
                {
                    "path": one["path"],
                    "uploadMode": "lfs" if one["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for one in json.loads(body)["files"]
            ]
            self._answer(200, {"files": files})
        elif what == "commit":
            self._commit(name, revision, [json.loads(line) for line in body.splitlines()])
        else:
            self._answer(404, {"error": "Not found"})

    def _commit(self, name: str, revision: str, lines: list[dict[str, Any]]) -> None:
        files = self.hub.files[name, revision]
        for line in lines:
            value = line["value"]
            match line["key"]:
                case "header":
                    self.hub.commits.append(value["summary"])
                case "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    files[value["path"]] = self.hub.blobs[value["oid"]]
                case "deletedFile":
                    del files[value["path"]]
        address = f"{self.hub.address}/{name}/commit/abc"
        self._answer(200, {"commitUrl": address, "commitOid": "abc", "success": True})


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A hub within the block."""
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    handler.hub = Hub(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield handler.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
