"""From a finished generator to a file that a stock runtime executes in int8."""
