"""The commands as Python functions, one file each, which combine all other packages."""
