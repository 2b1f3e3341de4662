"""The image store: an OCI image layout, layers unpacked once, skopeo and buildah as its hands."""
