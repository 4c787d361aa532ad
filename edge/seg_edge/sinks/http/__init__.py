"""The live picture as a web page and an MJPEG stream."""
