"""What candidates cost: objectives, and the ways from a model to a cost function."""
