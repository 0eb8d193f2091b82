"""Clusters, endpoints, balancing, pools and our own HTTP/1.1 connection."""
