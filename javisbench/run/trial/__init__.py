"""What each metric notices: good clips against damaged copies of themselves, or pairs that somebody has judged.

The pair test of JavisDiT (arXiv:2503.23377, Table A5) for any clips, damage and dose. Of each clip, what a damage does
not touch stays the same file; what it touches is stored by the same encoder as the good copy, so that nothing but the
damage tells them apart.
"""
