"""Programs that measure rqflow beside the machine's limit; benchmarks/README.md says what each means. `scripts/bench` runs them."""
