"""What must hold over everything that was stored, whoever played with the operator: chaos and bench."""
