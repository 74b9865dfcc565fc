"""A small ground station for benches: receives, acknowledges, writes products, sends files up."""
