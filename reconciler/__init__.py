"""A folder of manifests in, running containers out."""

__version__ = "0.1.0"
