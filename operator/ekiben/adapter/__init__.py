"""The metrics adapter: what an autoscaler asks about a model's pods, read from the pods when it asks.

A process of its own, `python -m ekiben.adapter`. It serves custom.metrics.k8s.io as an aggregated API, so
that a HorizontalPodAutoscaler scales on concurrency and requests per second with neither Prometheus nor KEDA.
"""
