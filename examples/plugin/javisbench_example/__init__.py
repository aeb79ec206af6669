"""A metric, a set metric, an encoder with weights, a generator and a suite for javisbench."""
