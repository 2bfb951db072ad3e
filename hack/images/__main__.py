"""Run the command line: `PYTHONPATH=hack python -m images`."""

from images.cli import main

main()
