"""The http service against real servers on loopback."""
