"""What `seg-edge bench` measures, one file a measurement, and the document it all ends up in."""
