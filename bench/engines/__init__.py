"""What is measured: one file per engine, each with a data root of its own and without a trace afterwards."""
