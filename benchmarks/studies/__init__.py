"""Studies, one per file, each run by hand; their results are in `docs/`."""
