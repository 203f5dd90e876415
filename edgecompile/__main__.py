"""`python -m edgecompile` is the command `edgecompile`."""

if __name__ == "__main__":
    import sys

    if not sys.flags.safe_path:
        del sys.path[0]  # the working folder, whose modules are no part of edgecompile

    from edgecompile.cli import main

    main()
