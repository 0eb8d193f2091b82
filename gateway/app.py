"""`app`: the gateway configured by the environment, for `uvicorn gateway.app:app`.

Lifetime: process. The only module whose import has an effect: uvicorn is told to speak HTTP with our protocol
class, which its command line reads after it has imported the application.
"""

from __future__ import annotations

import os

from gateway.admin.rendezvous import Rendezvous
from gateway.asgi import Gateway, configured_paths
from gateway.server import hook

hook.install()
# What makes workers that uvicorn starts one gateway.
serves = (*configured_paths(), os.getcwd(), os.environ.get("GATEWAY_ADMIN", ""))  # noqa: PTH109 - as a text
app = Gateway(own_process=True, adopt=hook.adopt, siblings=Rendezvous.below_parent(serves))
