"""`seg-edge serve`: the page that segments in the browser, and the HTTP API. They need the extra `serve`."""
