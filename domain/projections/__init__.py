"""Events to rows: pure folds, one module per table."""
