"""Worker versions: which ones run, and how one takes the place of another (docs/versions.md)."""
