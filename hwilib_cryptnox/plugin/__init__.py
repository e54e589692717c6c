"""The driver inside hwilib: the only importers of it."""
