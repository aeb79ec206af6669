"""Checkpoints: where they are found (`store`), fetched from (`fetch`), and known by (`hashes`)."""

from javisbench.weights.store import Located, WeightsEntry, WeightsFile, WeightStore, weights_registry

__all__ = ["Located", "WeightStore", "WeightsEntry", "WeightsFile", "weights_registry"]
