"""Pivots, product connectors and logical configuration: what they are and how they are read."""
