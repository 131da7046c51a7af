"""Frames of IQ samples, read from files that are not trusted."""
