"""Raw order-book depth and trades: the book, the features grid, and the tables they are recorded in."""
