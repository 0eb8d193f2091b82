"""Traces: which requests are sampled, what their spans say, how context goes on to upstreams."""
