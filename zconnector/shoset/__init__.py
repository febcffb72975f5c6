"""The shoset: a component's one multi-peer endpoint (DESIGN sections 1, 5, 6)."""
