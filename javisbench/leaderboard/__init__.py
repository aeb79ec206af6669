"""Pages: boards, one clip under the lens, comparisons."""
