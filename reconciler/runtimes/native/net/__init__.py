"""The network of pods: namespaces, links, addresses, and one nftables table."""
