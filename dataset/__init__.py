"""Making and describing training sets."""
