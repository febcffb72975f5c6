"""Worker repositories: what workers come from, verified before anything is opened (docs/repository.md)."""
