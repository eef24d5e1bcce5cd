"""Hosts of a network of their own: Linux network namespaces on a bridge, apart from this host's."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

NETWORK = "10.213.77"


@dataclass(frozen=True)
class Host:
    """A namespace, and its address in the network."""

    name: str
    address: str

    @property
    def within(self) -> tuple[str, ...]:
        """What a command begins with to run there: with its own network, and mounts of its own."""
        return ("ip", "netns", "exec", self.name)

    def pids(self) -> list[str]:
        """The processes that run there."""
        return _ip("netns", "pids", self.name).split()

    def end_processes(self) -> None:
        """End all that runs there, which is nothing but what the test has started."""
        end = time.monotonic() + 10
        while (pids := self.pids()) and time.monotonic() < end:
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.1)


def missing() -> str:
    """Why there can be no such network here; empty where there can."""
    if shutil.which("ip") is None:
        return "needs `ip` (iproute2)"
    if os.geteuid() != 0:
        return "needs root"
    probe = f"probe{os.getpid()}"
    try:
        _ip("netns", "add", probe)
        _ip("-n", probe, "link", "add", "bridge", "type", "bridge")
    except subprocess.CalledProcessError as error:
        return f"namespaces are not allowed here: {error.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", probe], stderr=subprocess.DEVNULL)
    return ""


@contextmanager
def network(number: int) -> Iterator[list[Host]]:
    """``number`` hosts that reach each other and nothing else."""
    switch = f"switch{os.getpid()}"
    hosts = [Host(f"host{os.getpid()}-{n}", f"{NETWORK}.{n}") for n in range(1, number + 1)]
    made = []
    try:
        _ip("netns", "add", switch)
        made.append(switch)
        _ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        _ip("-n", switch, "link", "set", "bridge", "up")
        for n, host in enumerate(hosts):
            _ip("netns", "add", host.name)
            made.append(host.name)
            _ip("-n", switch, "link", "add", f"port{n}", "type", "veth",
                "peer", "name", "eth0", "netns", host.name)  # fmt: skip
            _ip("-n", switch, "link", "set", f"port{n}", "master", "bridge", "up")
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", host.name, "link", "set", device, "up")
            # Leads nowhere. A host without one does not know which address is its own.
            _ip("-n", host.name, "route", "add", "default", "via", f"{NETWORK}.254")
        yield hosts
    finally:
        for host in hosts:
            if host.name in made:
                host.end_processes()
        for name in made:
            _ip("netns", "del", name)


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)
    return done.stdout
