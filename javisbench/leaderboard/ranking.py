"""Another name of `javisbench.results.ranking`, for programs that know it."""

from javisbench.results.ranking import Ranker

__all__ = ["Ranker"]
