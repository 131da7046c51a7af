"""On the device: opens a bundle, runs it, measures it. numpy and a runtime; never torch."""
