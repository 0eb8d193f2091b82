"""The words of HTTP that every room shares: request, reply, flags, headers, canonical path. No I/O."""
