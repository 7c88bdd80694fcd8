"""`python -m sam_dash`, or `sam-dash` where it is installed: the command line."""

from __future__ import annotations

import sys


def main() -> int:
    """Run a command; the exit code. Where only the library is installed, 2 and what to install."""
    try:
        from sam_dash.cli import main as command

        return command()
    except KeyboardInterrupt:  # while that is imported; a command says so itself
        print("interrupted", file=sys.stderr)
        return 130
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "sam_dash":
            raise
        print(f"sam_dash: the command line needs {error.name}: pip install 'sam-dash[dashboard]'", file=sys.stderr)
        return 2


if __name__ == "__main__":  # the engine's spawned workers import this module too
    sys.exit(main())
