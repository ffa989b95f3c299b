"""The command line: one thin file per command; each parses, calls one library function and prints."""
