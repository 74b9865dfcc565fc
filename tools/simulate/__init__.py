"""Made-up strips that look real enough to run the whole payload on."""

import os

# Its matrices are small: more threads than one wait for each other and cost twice the CPU seconds. Read
# when numpy is first imported; whoever has set it knows better.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
