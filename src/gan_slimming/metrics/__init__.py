"""Every reported figure of a generator, one file per definition."""
