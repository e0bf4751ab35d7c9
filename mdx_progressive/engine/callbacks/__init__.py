"""Lightning callbacks: what a run of `test` or `predict` writes, logs and shows."""
