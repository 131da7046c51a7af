"""Target profiles: one TOML file a device, and nothing else. ``deploy.targets`` reads them."""
