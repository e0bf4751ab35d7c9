"""Two processes of tests share the cores: threads that wait for each other would cost minutes."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # Before anything imports torch, for what the tests start too.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
