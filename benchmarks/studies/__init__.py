"""Questions that were asked once, one a file, each run by hand; the answers are in `docs/`."""
