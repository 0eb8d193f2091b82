"""One request: hygiene, the spine, attempts, replies. Only the spine awaits."""
