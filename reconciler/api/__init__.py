"""HTTP over a unix socket, in the Kubernetes API's own paths and JSON, and the metrics listener."""
