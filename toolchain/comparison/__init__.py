"""Layer pruning against channel pruning, fairly: methods x budgets x seeds x models x data sets, and one table of them."""
