"""Two processes of tests share the cores: threads that wait for each other would cost minutes.

And what is computed has the same bits in any process of the tests, and in those that they start.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # Before anything imports torch.
