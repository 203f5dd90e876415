"""Data: load rows from where users keep them, split them, look for what is wrong with them."""
