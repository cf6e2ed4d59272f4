"""The networks, the dither prior and the objectives."""
