"""`make demo`: what Ekiben does, on a real cluster, with real requests."""
