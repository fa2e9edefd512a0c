"""Records and sections as NumPy columns, with what follows from a column by lookup."""
