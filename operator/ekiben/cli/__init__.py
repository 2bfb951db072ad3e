"""`kubectl ekiben`: what people and pipelines do with models. Views are pure, `cluster.py` talks."""
