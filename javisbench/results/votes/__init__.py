"""What people said of clips: votes on pairs, where they come from, and what follows from them."""
