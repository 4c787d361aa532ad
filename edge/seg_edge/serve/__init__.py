"""`seg-edge serve`: the page that segments in the browser, and the HTTP API. It needs the extra `serve`."""
