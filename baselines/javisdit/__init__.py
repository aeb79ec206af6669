"""JavisDiT, a joint audio-video diffusion transformer: versions 0.1 and 1.0, written small for inference.

Papers: "JavisDiT: Joint Audio-Video Diffusion Transformer with Hierarchical Spatio-Temporal Prior Synchronization"
(v0.1, arXiv 2503.23377) and "JavisDiT++" (v1.0). Tensor names are those of the official checkpoints.
"""
