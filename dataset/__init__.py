"""Training sets: preparing, reading, batches."""
