"""A web page that runs a generator in the browser: its files, its runtime, and a server to try."""
