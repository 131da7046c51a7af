"""The report of a comparison, one idea a file: what the figures say, how they are drawn, where each comes from.

Nothing is imported here: of its modules only ``page`` (and ``writing``, which writes it) needs plotly and jinja2.
"""
