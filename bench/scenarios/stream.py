"""A large body each way: processor time for a GiB, and how much memory it takes on the way."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from bench import configs
from bench.backends import backends
from bench.processes import LOOPBACK, MIB
from bench.report import Result, number, ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.lab import Lab
    from bench.subjects import Running

PIECE = 256 * 1024
WARM_UP = 64 * MIB
PATIENCE = 120.0
"""Seconds without a byte until a transfer counts as hung."""


def run(lab: Lab) -> Result:
    """The gateway and Envoy, down and up."""
    size = (128 if lab.quick else 1024) * MIB
    result = Result(
        "stream",
        f"one body of {size // MIB:,} MiB",
        ("direction, subject", "CPU ms/100 MiB", "x Envoy", "MiB/s", "memory it took MiB"),
    )
    with (
        backends(lab.directory, file_size=size) as services,
        lab.running(
            lambda _: lambda port: configs.stream(port, services), only=("gateway", "envoy")
        ) as running,
    ):
        for direction, transfer in (("down", download), ("up", upload)):
            for subject in running.values():
                transfer(subject.port, WARM_UP)
            measured = {
                name: _measure(lab, name, subject, transfer, size) for name, subject in running.items()
            }
            reference = measured["envoy"][0] if "envoy" in measured else None
            for name, (cpu, rate, memory) in measured.items():
                cost = cpu / (size / MIB / 100) * 1e3
                result.rows.append(
                    (
                        f"{direction}, {name}",
                        number(cost),
                        ratio(cpu, reference),
                        number(rate, 0),
                        number(memory),
                    )
                )
    return result


def _measure(
    lab: Lab, name: str, subject: Running, transfer: Callable[[int, int], None], size: int
) -> tuple[float, float, float]:
    """Processor seconds, MiB a second, and the growth of the peak."""
    child = subject.child
    child.forget_peak()
    memory, before = child.rss(), child.usage()
    transfer(subject.port, size)
    after = child.usage()
    cpu, rate = after.cpu - before.cpu, size / MIB / (after.at - before.at)
    grown = child.peak_rss() - memory
    lab.say(f"{transfer.__name__} {name}: {rate:,.0f} MiB/s, {grown:.1f} MiB more memory")
    return cpu, rate, grown


def download(port: int, size: int) -> None:
    """Fetches `size` bytes; what comes must be as long as announced."""
    with socket.create_connection((LOOPBACK, port), PATIENCE) as connection:
        end = f"bytes=0-{size - 1}"
        connection.sendall(
            f"GET /download HTTP/1.1\r\nhost: reviews\r\nrange: {end}\r\nconnection: close\r\n\r\n".encode()
        )
        room = memoryview(bytearray(1 << 20))
        received = connection.recv_into(room)
        head, _, body = bytes(room[:received]).partition(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 206")):
            raise RuntimeError(f"no download: {head[:200]!r}")
        total = len(body)
        while received := connection.recv_into(room):
            total += received
    if total != size:
        raise RuntimeError(f"{total} of {size} bytes arrived")


def upload(port: int, size: int) -> None:
    """Sends `size` bytes; the backend must have counted as many."""
    piece = memoryview(bytearray(PIECE))
    with socket.create_connection((LOOPBACK, port), PATIENCE) as connection:
        connection.sendall(
            b"POST /upload HTTP/1.1\r\nhost: reviews\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
            % size
        )
        for _ in range(size // PIECE):
            connection.sendall(piece)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    if answer.rpartition(b"\r\n\r\n")[2] != b"%d" % size:
        raise RuntimeError(f"the upload was not counted: {answer[:300]!r}")
