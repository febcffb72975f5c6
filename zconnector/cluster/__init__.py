"""The cluster member."""
