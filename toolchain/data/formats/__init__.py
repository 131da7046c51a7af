"""Readers of the sets that others publish, one a file; those that a device reads too are in ``deploy.frames``."""
