"""From new samples to new weights in flight, end to end on one machine: `make retrain`."""
