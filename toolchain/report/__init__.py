"""Tables, figures and the written report."""

from toolchain.report.figures import write_figures
from toolchain.report.markdown import markdown

__all__ = ["markdown", "write_figures"]
