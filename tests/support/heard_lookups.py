"""Which names a command looks up: run it in a network of its own, whose name server knows none.

    unshare --net --mount python heard_lookups.py COMMAND...

Prints the exit status and the names as JSON. This program looks up ``control.invalid``
itself: where it is missing, nothing was heard.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

CONTROL = "control.invalid"
NO_SUCH_NAME = 3


def name_asked(packet: bytes) -> str:
    """The name in a DNS question: labels behind their lengths, from byte 12 on."""
    labels, at = [], 12
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode("latin-1"))
        at += 1 + length
    return ".".join(labels)


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with NamedTemporaryFile("w") as file:
        file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        file.flush()
        resolved = Path("/etc/resolv.conf").resolve()
        subprocess.run(["mount", "--bind", file.name, str(resolved)], check=True)
        heard: set[str] = set()
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("127.0.0.1", 53))

        def answer() -> None:
            while True:
                packet, sender = server.recvfrom(4096)
                heard.add(name_asked(packet))
                flags = bytes([0x81, 0x80 | NO_SUCH_NAME])
                server.sendto(packet[:2] + flags + packet[4:6] + bytes(6) + packet[12:], sender)

        threading.Thread(target=answer, daemon=True).start()
        with suppress(socket.gaierror):
            socket.getaddrinfo(CONTROL, 443)
        ended = subprocess.run(sys.argv[1:], stdout=sys.stderr)
        print(json.dumps({"status": ended.returncode, "names": sorted(heard)}))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
