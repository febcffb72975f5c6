"""Supervision of worker processes (docs/supervision.md): a pure core, the port to processes, a thin shell."""
