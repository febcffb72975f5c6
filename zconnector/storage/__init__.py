"""Durable stores: the port, SQLite, group commit."""
