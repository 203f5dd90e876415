"""`python -m edgecompile` is the command `edgecompile`."""

from edgecompile.cli import main

if __name__ == "__main__":
    main()
