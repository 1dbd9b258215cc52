"""Plain values and rules of the plugin service: no I/O, no clock, no library that has them."""
