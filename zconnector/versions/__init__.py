"""Worker versions: what is wanted, what runs, and the way from one to the other (docs/versions.md)."""
