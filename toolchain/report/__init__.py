"""Tables, figures and the written report. Nothing is imported here: a device shows the texts without matplotlib or torch."""
