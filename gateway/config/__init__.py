"""What the operator wrote: frozen models of every document kind, and every finding at once."""
