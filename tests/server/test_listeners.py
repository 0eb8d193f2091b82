"""Which addresses are listened on."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from gateway.config import load
from gateway.server.listeners import Address, CannotListen, bound, listen, wanted


def config(*servers: str, settings: str = "{}", selector: str = "{}") -> Any:
    documents = [
        f"{{apiVersion: gateway.asgi/v1, kind: GatewaySettings, metadata: {{name: s}}, spec: {settings}}}"
    ]
    if servers:
        documents.append(
            "{apiVersion: networking.istio.io/v1, kind: Gateway, metadata: {name: g},"
            f" spec: {{selector: {selector}, servers: [{', '.join(servers)}]}}}}"
        )
    return load([], texts={"x.yaml": "\n---\n".join(documents)}).require()


def server(number: int, extra: str = "", protocol: str = "HTTP") -> str:
    return f'{{port: {{number: {number}, name: p{number}, protocol: {protocol}}}, hosts: ["*"]{extra}}}'


@pytest.mark.parametrize(
    ("made", "host", "port", "required", "optional"),
    [
        (config(), None, None, ["127.0.0.1:8080"], []),
        (config(), "0.0.0.0", None, ["0.0.0.0:8080"], []),
        (config(), None, 9, ["127.0.0.1:9"], []),
        (config(), "::1", 0, ["[::1]:0"], []),
        (config(settings='{listen: "[::1]:81"}'), None, None, ["[::1]:81"], []),
        (config(server(80), server(81)), None, None, ["0.0.0.0:80", "0.0.0.0:81"], []),
        (config(server(80, ", bind: 10.0.0.1"), server(81)), "::", None, ["10.0.0.1:80", "[::]:81"], []),
        (config(server(80)), "127.0.0.1", 80, ["127.0.0.1:80"], []),
        (config(server(80)), None, 8080, ["127.0.0.1:8080"], ["0.0.0.0:80"]),
        (config(server(80), settings="{labels: {a: b}}", selector="{a: c}"), None, None, ["127.0.0.1:8080"], []),
        (config(server(80), settings="{labels: {a: b}}", selector="{a: b}"), None, None, ["0.0.0.0:80"], []),
    ],
)  # fmt: skip
def test_documents_command_line_and_settings_say_where(
    made: Any, host: str | None, port: int | None, required: list[str], optional: list[str]
) -> None:
    """In this order; an explicit port is opened in any case."""
    asked = wanted(made, host, port)
    assert ([str(each) for each in asked.required], [str(each) for each in asked.optional]) == (
        required,
        optional,
    )


def test_what_is_not_opened_is_named() -> None:
    """With the reason."""
    asked = wanted(config(server(80), server(81, protocol="TCP")))
    assert asked.passed_over == ("g port 81 (TCP): only HTTP and HTTPS listeners are opened",)


def test_a_socket_listens_where_it_was_asked_to() -> None:
    """Port 0 becomes a number; workers may inherit it."""
    with listen(Address("127.0.0.1", 0)) as opened:
        (address,) = bound([opened])
        assert address.port > 0
        assert opened.get_inheritable()
        with socket.create_connection(address[:2]):
            pass


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (Address("192.0.2.1", 80), r"^Cannot listen on 192\.0\.2\.1:80: cannot assign requested address\.$"),
        (Address("no-such-host.invalid", 80), r"^Cannot listen on no-such-host\.invalid:80: .*\.$"),
    ],
)
def test_an_address_that_cannot_be_used_is_one_sentence(address: Address, words: str) -> None:
    """For people."""
    with pytest.raises(CannotListen, match=words):
        listen(address)
