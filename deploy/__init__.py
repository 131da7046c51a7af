"""On the device: opens a bundle, runs it, measures it. numpy and a runtime; never torch."""

import os

# ONNX Runtime keeps a store of its own in the user's cache, and reads this once, when it is imported: by whatever part.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
