"""The output folder of a build: what is in it, how it is written, and how it is checked again."""
