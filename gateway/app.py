"""`app`: the gateway configured by the environment, for `uvicorn gateway.app:app`.

Lifetime: process. The only module whose import has an effect: uvicorn is told to speak HTTP with our protocol
class, which its command line reads after it has imported the application.
"""

from __future__ import annotations

from gateway.asgi import Gateway
from gateway.server import hook

hook.install()
app = Gateway(own_process=True, adopt=hook.adopt)
