"""What happens to pixels and waveforms before a network sees them, one module a method."""
