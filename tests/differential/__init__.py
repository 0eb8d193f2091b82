"""The oracle: real Envoy on the exported configuration beside the gateway on the original."""
