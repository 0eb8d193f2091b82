"""What `gateway demo` runs beside the gateway: sample backends and a little traffic."""
