"""HTML pages and SVG charts for people."""
