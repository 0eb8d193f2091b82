"""`gateway why` about requests that came to no route."""

from __future__ import annotations

import asyncio
from pathlib import Path

from remembering import remembering
from support.stage import route

CLOSED = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec: {action: DENY, rules: [{}]}
---"""
HTTP = """
  - name: hello
    directResponse: {status: 200}"""


def test_one_that_a_policy_refused_names_the_route_it_did_not_come_to(tmp_path: Path) -> None:
    """And neither near misses nor another configuration, of which there was none."""

    async def main() -> None:
        async with remembering(tmp_path, route("reviews", HTTP) + CLOSED) as gateway:
            await gateway.running.get("/x")
            await gateway.ended()
            page = (await gateway.run("why", "last")).output
            assert "403  flag -" in page
            assert "hello  (default/reviews http[0]) would be next; it was turned away before" in page
            assert "changed" not in page
            assert "near misses" not in page

    asyncio.run(main())
