"""The command line: one file per command; the only reader of argv and the environment."""
