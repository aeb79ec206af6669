"""Generators of sounding video behind one interface, one file or folder each."""

# The folder is linked into the package; under its short name every module would exist twice.
if __name__ == "baselines":
    raise ImportError("Import javisbench.baselines: 'baselines' is a folder of the checkout, not a package of its own.")
