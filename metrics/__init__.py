"""Metrics of joint audio-video generation, one file each, and the encoders they need."""

# The folder is linked into the package; under its short name every module would exist twice.
if __name__ == "metrics":
    raise ImportError("Import javisbench.metrics: 'metrics' is a folder of the checkout, not a package of its own.")
