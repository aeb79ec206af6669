"""JavisDiT, a joint audio-video diffusion transformer: versions 0.1 and 1.0; and OpenSora 1.2, which 0.1 grew from.

Written small, for inference.

Papers: "JavisDiT: Joint Audio-Video Diffusion Transformer with Hierarchical Spatio-Temporal Prior Synchronization"
(v0.1, arXiv 2503.23377) and "JavisDiT++: Unified Modeling and Optimization for Joint Audio-Video Generation" (v1.0,
arXiv 2602.19163). OpenSora: Zheng et al., "Open-Sora: Democratizing Efficient Video Production for All", arXiv
2412.20404. Tensor names are those of the official checkpoints.
"""

from javisbench.baselines.javisdit.generator import JavisDiT, OpenSora

__all__ = ["JavisDiT", "OpenSora"]
