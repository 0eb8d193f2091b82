"""The server's side: protocol class, listeners, workers, shutdown."""
