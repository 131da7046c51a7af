"""What a runtime takes for layers on a target, measured on a family of small networks and brought to a few constants."""
