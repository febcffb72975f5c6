"""The local queue."""
