"""What hosts, labels and names may look like (RFC 1123, Kubernetes, Istio's stricter variants).

Lifetime: config (constants) and plain functions, each None or a sentence that says what is wrong.
"""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network

_LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?"
_DNS_LABEL = re.compile(rf"{_LABEL}\Z")
_WILDCARD_LABEL = re.compile(rf"(?:\*|(?:\*-?)?{_LABEL})\Z")
_LOWER_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*\Z")
_LABEL_NAME = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")

MAX_HOST = 255


def is_ip(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address, without a prefix length or zone."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_cidr(text: str) -> bool:
    """Whether `text` is an address or a network such as 10.0.0.0/8; host bits may be set."""
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def is_token(text: str) -> bool:
    """Whether `text` can be the name of a header (RFC 9110 5.6.2)."""
    return _TOKEN.match(text) is not None


def check_hostname(text: str) -> str | None:
    """A host without wildcards: `reviews`, `reviews.default.svc.cluster.local`."""
    return _check_host(text, _DNS_LABEL)


def check_wildcard(text: str) -> str | None:
    """A host, `*.suffix` or `*`."""
    return None if text == "*" else _check_host(text, _WILDCARD_LABEL)


def _check_host(text: str, first: re.Pattern[str]) -> str | None:
    if not text:
        return "a host name is not empty"
    if len(text) > MAX_HOST:
        return f"a host name has at most {MAX_HOST} characters"
    head, *rest = text.split(".")
    if not first.match(head) or not all(map(_DNS_LABEL.match, rest)):
        return f'"{text}" is not a host name: letters, digits and "-" between dots' + (
            ', "*" only at the start' if "*" in text else ""
        )
    if text.rpartition(".")[2].isdigit():
        return f'"{text}" is not a host name: its last part is a number'
    return None


def check_name(text: str) -> str | None:
    """A DNS-1123 label as Istio reads it (upper case allowed)."""
    if _DNS_LABEL.match(text):
        return None
    return f'"{text}" is not a name: 1 to 63 letters, digits and "-", not "-" at an end'


def check_namespace(text: str) -> str | None:
    """A namespace: a lower-case DNS-1123 label."""
    if _LOWER_LABEL.match(text):
        return None
    return f'"{text}" is not a namespace: 1 to 63 lower-case letters, digits and "-", not "-" at an end'


def check_resource_name(text: str) -> str | None:
    """The name of a resource: a lower-case DNS-1123 subdomain."""
    if len(text) <= 253 and _SUBDOMAIN.match(text):
        return None
    return f'"{text}" is not a resource name: lower-case letters, digits, "-" and ".", at most 253'


def check_label(key: str, value: str) -> str | None:
    """A Kubernetes label: `app: reviews`, `topology.istio.io/network: n1`."""
    prefix, slash, name = key.rpartition("/")
    if not _LABEL_NAME.match(name) or (slash and (len(prefix) > 253 or not _SUBDOMAIN.match(prefix))):
        return f'"{key}" is not the name of a label'
    if value and not _LABEL_NAME.match(value):
        return f'"{value}" is not a label value: at most 63 letters, digits, "-", "_" and "."'
    return None
