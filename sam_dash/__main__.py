"""`python -m sam_dash`: the command line."""

if __name__ == "__main__":  # the engine's spawned workers import this module too
    import sys

    from sam_dash.cli import main

    sys.exit(main())
