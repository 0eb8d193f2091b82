"""`app`: the gateway configured by the environment, for `uvicorn gateway.app:app`.

Lifetime: process. The only module whose import has an effect: it asks uvicorn to use our protocol class.
"""

from __future__ import annotations

from gateway.asgi import Gateway

app = Gateway(own_process=True)
