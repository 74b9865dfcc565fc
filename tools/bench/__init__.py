"""The benchmark: our pipeline beside DTACSNet's networks, in one run on one machine."""
