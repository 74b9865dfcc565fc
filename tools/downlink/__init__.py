"""How good the downlink order is: seeded instances, bounds that nothing can beat, a figure."""
