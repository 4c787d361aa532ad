"""Where segmented frames go."""
