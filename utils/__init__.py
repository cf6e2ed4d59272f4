"""Files, data sets, the training loop, metrics: what the systems share."""
