"""The activator: holds requests to models that have no pods until a pod is ready, and passes them on.

A process of its own, `python -m ekiben.activator`, without any state but the requests that it holds. The
operator puts it into a model's path when the model goes to sleep, and takes it out again; it hears from each
activator for which models requests are held, and wakes those. So the activator writes nothing to the cluster.
"""
