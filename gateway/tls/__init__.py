"""TLS in both directions: credentials, SSL contexts, and who is at the other end.

Lifetime: config (values and contexts), process (`Store`).

`Store` reads credentials and follows them on disk. A client's connection: `read_hello` finds the server
name, `ServerTable.find` its server, `breach` says after the handshake whether the client may stay, `identify`
who it is. A connection to a backend: `Origination` has the context, the name to ask for and those to find.
"""

from __future__ import annotations

from gateway.tls.identity import breach, identify, tls_extension, xfcc
from gateway.tls.misdirected import compile_misdirected
from gateway.tls.origination import Destination, Origination
from gateway.tls.servers import ServerTable
from gateway.tls.store import Secured, Store

__all__ = [
    "Destination",
    "Origination",
    "Secured",
    "ServerTable",
    "Store",
    "breach",
    "compile_misdirected",
    "identify",
    "tls_extension",
    "xfcc",
]
