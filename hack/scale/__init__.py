"""What the operator costs at fleet size: `make bench-scale`."""
