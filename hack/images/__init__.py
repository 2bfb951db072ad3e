"""Build Ekiben's container images: with Docker where it answers, otherwise with buildah and no registry."""
