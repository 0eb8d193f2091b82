"""The only writer of shared state: load, watch, reconcile, reload."""
