"""The server of the live report, on this machine alone."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from analysis.report.live_page import Body, LivePage, plotly_address, plotly_library
from vgg6.tuning.run.folder import RunFolder

LOOPBACK = "127.0.0.1"
FRESH, FOR_EVER = "no-store", "public, max-age=31536000, immutable"


class LiveServer(ThreadingHTTPServer):
    """Serves a live page until it is closed."""

    daemon_threads = True

    def __init__(self, live: LivePage, port: int) -> None:
        super().__init__((LOOPBACK, port), Handler)
        self.live = live

    def server_close(self) -> None:
        self.live.stop()
        super().server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers a browser that asked this machine by its own name: the page, Plotly's library, and
    what is new since a version of the page."""

    server: LiveServer

    def do_GET(self) -> None:
        # Another site whose name was pointed at this address must not read the page.
        names = {f"{name}:{self.server.server_port}" for name in (LOOPBACK, "localhost")}
        asked = urlsplit(self.path)
        if self.headers.get("Host") not in names:
            self.send_error(403, "only by this machine's own name")
        elif asked.path == "/":
            self._answer(self.server.live.page(), "text/html; charset=utf-8")
        elif asked.path == plotly_address():
            self._answer(plotly_library(), "text/javascript; charset=utf-8", FOR_EVER)
        elif asked.path == "/news":
            since = parse_qs(asked.query).get("since", [""])[0]
            self._news(self.server.live.news(since))
        else:
            self.send_error(404)

    def _news(self, news: Body | None) -> None:
        if news:
            self._answer(news, "application/json")
            return
        self.send_response(204)
        self.send_header("Cache-Control", FRESH)
        self.end_headers()

    def _answer(self, body: Body, kind: str, cache: str = FRESH) -> None:
        packed = "gzip" in self.headers.get("Accept-Encoding", "")
        content = body.packed if packed else body.plain
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", cache)
        self.send_header("Vary", "Accept-Encoding")
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a page that asks every few seconds would fill the terminal."""


def serve(run: RunFolder, port: int) -> LiveServer:
    """A server of the live report on the loopback address; ``port`` 0 takes a free one.

    The first page is made before it returns; newer ones in the background until it is closed.

    Raises:
        OSError: the port is taken.
        InputError: a file of the run is damaged.
    """
    live = LivePage(run)
    server = LiveServer(live, port)
    live.update(quick=True)
    threading.Thread(target=live.follow, daemon=True).start()
    return server
