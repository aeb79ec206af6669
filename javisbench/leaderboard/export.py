"""Another name of `javisbench.publish.export`, for programs that know it."""

from javisbench.publish.export import render

__all__ = ["render"]
