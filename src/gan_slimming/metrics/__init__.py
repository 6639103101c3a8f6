"""Every number that is reported about a generator, one file per definition."""
