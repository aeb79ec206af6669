"""Any pipeline of diffusers as a generator: ``diffusers:REPO``, read by its signature."""

from javisbench.baselines.diffusers_models.generator import DiffusersPipeline

__all__ = ["DiffusersPipeline"]
