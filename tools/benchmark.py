"""Measure speed in a checkout: python -m tools.benchmark step --config=xception; see `benchmarks/command.py`."""

import sys

if __name__ == "__main__":
    from benchmarks import command

    sys.exit(command.main(sys.argv[1:]))
