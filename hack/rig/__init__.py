"""What the demo, the bench and the e2e tests share: a cluster with the operator, a model, and traffic."""
