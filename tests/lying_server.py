"""A web server on this machine that does what a test tells it: drops connections, lies about lengths, stalls."""
from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Behaviour:
    """What the server does; one connection takes the next number of bytes from `drops` and breaks off after them."""

    content: bytes
    drops: list[int] = field(default_factory=list)
    ranges: bool = True                 # continues where it is asked to
    length: int | None = None           # what it says instead of the truth
    chunked: bool = False               # says no length
    status: list[int] = field(default_factory=list)     # refuses so often, with these
    stall: threading.Event | None = None                # after the first bytes, until this is set
    asked: list[str | None] = field(default_factory=list)   # the Range header of each request


class Handler(http.server.BaseHTTPRequestHandler):
    behaviour: Behaviour

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        do = self.behaviour
        do.asked.append(self.headers["Range"])
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        if do.status:
            self.send_error(do.status.pop(0))
            return
        found = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        start = int(found[1]) if found and do.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(do.content) - 1}/{do.length or len(do.content)}")
        if not do.chunked:
            self.send_header("Content-Length", str((do.length or len(do.content)) - start))
        self.end_headers()
        body = do.content[start:]
        if do.drops:
            body = body[:do.drops.pop(0)]
        try:
            self.wfile.write(body[:100_000])
            if do.stall:
                self.wfile.flush()
                do.stall.wait(20)
            self.wfile.write(body[100_000:])
        except OSError:
            pass        # the client has gone


@contextmanager
def serving(content: bytes) -> Iterator[tuple[Behaviour, str]]:
    """(what it does, its address); ended afterwards."""
    behaviour = Behaviour(content)
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("H", (Handler,), {"behaviour": behaviour}))
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield behaviour, f"http://127.0.0.1:{httpd.server_port}"
    finally:
        if behaviour.stall:
            behaviour.stall.set()
        httpd.shutdown()
        httpd.server_close()
        thread.join()
