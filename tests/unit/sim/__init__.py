"""A cluster on a virtual clock that plays the plans of `ekiben.core.reconcile.decide`."""
