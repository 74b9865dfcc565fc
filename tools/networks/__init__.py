"""Ground: what the networks are, how they are trained, and how they become flight artifacts."""
