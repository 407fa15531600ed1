"""The command line. One file per command: it parses, calls, prints."""
