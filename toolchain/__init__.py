"""On the workstation: from a trained model to a bundle that runs on the device."""
