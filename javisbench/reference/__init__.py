"""The real side of set metrics: clips, stored features, and what they must match."""
