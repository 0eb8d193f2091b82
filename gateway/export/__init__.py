"""The same configuration for other proxies."""
