"""The stages of a run, one a file, in the order data, train, plan, finetune, export, profile, report.

Each has one function ``make(run, out, progress) -> str``: it reads what earlier stages left, writes its own outputs, and
returns a line that says what came out.
"""
