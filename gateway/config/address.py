"""`HOST:PORT`, as listeners and stores are written.

Lifetime: config.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Strict

from gateway.config.fields import Problem, rejection
from gateway.config.names import check_hostname, is_ip


def host_port(value: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8080` or `[::1]:8080`; ValueError when it is neither."""
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    valid = is_ip(host) or check_hostname(host) is None
    if not colon or not valid or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        message = f'"{value}" is not an address: write HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080'
        raise ValueError(message)
    return host, int(port)


def check_address(value: str) -> str:
    """`value`, for pydantic; GW035 when it is no address."""
    try:
        host_port(value)
    except ValueError as error:
        raise rejection(Problem("GW035", str(error))) from error
    return value


Address = Annotated[str, Strict(), AfterValidator(check_address)]
"""`HOST:PORT`."""
