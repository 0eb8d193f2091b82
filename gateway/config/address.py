"""`HOST:PORT`, as listeners and stores are written, and addresses of nameservers.

Lifetime: config.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Strict

from gateway.config.fields import Problem, rejection
from gateway.config.names import check_hostname, is_ip

DNS_PORT: Final = 53


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


def nameserver(value: str) -> tuple[str, int]:
    """IP address and port of `10.0.0.53`, `10.0.0.53:5353`, `::1`, `[::1]:5353`; ValueError if it is none."""
    if is_ip(value):
        return value, DNS_PORT
    try:
        host, port = host_port(value)
    except ValueError:
        host, port = "", 0
    if not port or not is_ip(host) or (":" in host) != value.startswith("["):
        message = (
            f'"{value}" is not an IP address with or without a port: 10.0.0.53, 127.0.0.1:5353, [::1]:5353'
        )
        raise ValueError(message)
    return host, port


def check_nameserver(value: str) -> str:
    """`value`, for pydantic; GW035 when it is no nameserver."""
    try:
        nameserver(value)
    except ValueError as error:
        raise rejection(Problem("GW035", str(error))) from error
    return value


Address = Annotated[str, Strict(), AfterValidator(check_address)]
"""`HOST:PORT`."""
