"""Our own engine: an OCI image store, overlayfs, an OCI runtime under conmon, network namespaces."""
