"""The live report: served on this machine alone, made anew as the search goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from analysis.report.gather import gather
from analysis.report.page import render_page
from vgg6.tuning.run.folder import JOURNAL, RunFolder
from vgg6.tuning.run.search import read_search

LOOPBACK = "127.0.0.1"
LEAST_S = 5.0  # between two renderings


class LivePage:
    """The newest page of a run. Rendered when it is asked for and the journal has grown."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run
        self._lock = threading.Lock()
        self._page, self._of, self._made = b"", "", 0.0

    def version(self) -> str:
        """Changes with the journal."""
        info = self.run.fs.get_file_info(self.run.file(JOURNAL))
        return f"{info.size}"

    def page(self) -> bytes:
        with self._lock:
            now = self.version()
            if now != self._of and (not self._page or time.monotonic() - self._made > LEAST_S):
                self._page = render_page(gather(read_search(self.run)), live=now).encode()
                self._of, self._made = now, time.monotonic()
            return self._page

    def shown(self) -> str:
        """The version that a reload would show: the page's own until it may be made again."""
        fresh = time.monotonic() - self._made <= LEAST_S
        return self._of if fresh else self.version()


def handler(live: LivePage, port: Callable[[], int]) -> type[BaseHTTPRequestHandler]:
    """Answers two paths, and only to a browser that asked this machine by its own name."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Another site whose name was pointed at this address must not read the page.
            if self.headers.get("Host") not in {f"{n}:{port()}" for n in (LOOPBACK, "localhost")}:
                self.send_error(403, "only by this machine's own name")
            elif self.path == "/":
                self._answer(live.page(), "text/html; charset=utf-8")
            elif self.path == "/version":
                self._answer(live.shown().encode(), "text/plain")
            else:
                self.send_error(404)

        def _answer(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a page that asks every few seconds would fill the terminal."""

    return Handler


def serve(run: RunFolder, port: int) -> ThreadingHTTPServer:
    """A server of the live report on the loopback address; ``port`` 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    server: ThreadingHTTPServer
    live = LivePage(run)
    server = ThreadingHTTPServer((LOOPBACK, port), handler(live, lambda: server.server_port))
    server.daemon_threads = True
    return server
