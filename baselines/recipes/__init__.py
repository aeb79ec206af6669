"""Programs that drive other authors' checkouts over JSON lines, in the checkout's Python and without javisbench."""
