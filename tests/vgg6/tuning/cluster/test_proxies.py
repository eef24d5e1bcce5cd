"""A proxy that is set for the hosts elsewhere stands between no two processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from support.paths import ROOT

DEAD = "http://127.0.0.1:9"
PROXIES = {name: DEAD for name in ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")}
PROXIES |= {name.upper(): DEAD for name in PROXIES}


@pytest.mark.slow
def test_a_job_is_handed_to_the_dashboard_here_and_not_to_a_proxy() -> None:
    asked = []

    class Dashboard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Dashboard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        subprocess.run(
            ["bash", str(ROOT / "cluster" / "submit.sh"), "list", "--storage", "/tmp"],
            env=os.environ | PROXIES | {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "RAY_API_SERVER_ADDRESS": f"http://127.0.0.1:{server.server_port}",
                "RAY_AUTH_MODE": "disabled",
            },
            capture_output=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        server.shutdown()
        server.server_close()
    assert asked, "the dashboard was never asked"
