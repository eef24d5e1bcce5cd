"""The Ray cluster: connection, resources, nodes, faults."""
