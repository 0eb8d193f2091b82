"""Counters and the access log, made from finished exchanges."""
