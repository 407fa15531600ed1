"""Every way in: settings, wiring, command line, HTTP."""
