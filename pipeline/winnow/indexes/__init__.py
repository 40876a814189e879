"""Indexes on disk of what was kept before, for pools that grow."""
