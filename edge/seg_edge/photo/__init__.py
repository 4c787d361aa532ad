"""Photo files: header, decoder, encoder."""
