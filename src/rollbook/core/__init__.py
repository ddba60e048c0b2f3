"""The pure core: frozen values and functions; no I/O, no clock, no log."""
