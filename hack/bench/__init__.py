"""`make bench`: what the README claims, measured on a real cluster, each beside its floor or limit."""
