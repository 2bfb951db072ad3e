"""Run the command line: `python -m localcluster`."""

from localcluster.cli import main

main()
