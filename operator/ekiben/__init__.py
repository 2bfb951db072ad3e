"""Ekiben: deliver BentoML models on Kubernetes."""
