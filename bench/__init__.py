"""Benchmarks: the gateway beside real Envoy and bare uvicorn, in one run, on the same routes and backend.

`scripts/bench --help` says how to run them, docs/performance.md what they measure and how far to trust them.
"""
