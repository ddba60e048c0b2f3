"""The sinks against real HTTP servers on the loopback."""
