"""The pure core: what to do, given what is seen. No await, no clock, no I/O."""
