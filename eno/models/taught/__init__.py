"""Tags from a few examples, which are added to a trained predictor."""
