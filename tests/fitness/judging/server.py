"""A server of chat completions that says what it is told."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def completion(content):
    return 200, {"choices": [{"message": {"role": "assistant", "content": content}}]}


class Server(ThreadingHTTPServer):
    """A server that replies in turn what it is told, the last one again and again.

    Attributes:
        requests: The bodies that came.
        keys: The keys that came with them.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.requests, self.keys = [completion("10")], [], []
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.requests.append({"path": self.path, **json.loads(body)})
            server.keys.append(self.headers["Authorization"])
            status, reply = server.replies[0]
            if len(server.replies) > 1:
                server.replies.pop(0)
        if status == 0:
            self.connection.close()
            return
        content = reply.encode() if isinstance(reply, str) else json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("retry-after-ms", "1")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
