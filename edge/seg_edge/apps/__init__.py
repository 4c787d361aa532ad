"""What the commands run: `commands/image.py` reads the options, `apps/image.py` does the work."""
