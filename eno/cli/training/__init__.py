"""Commands that train, tune, evaluate and compare predictors."""
