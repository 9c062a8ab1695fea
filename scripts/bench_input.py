"""Measures how fast records become masked batches, and how full the rows are.

python scripts/bench_input.py --records=DATA_FOLDER [--batch_rows=128]
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from electra_tf import config
from electra_tf.batches import pipeline

ROW_TOKENS = (128, 512)
_WARM_UP_BLOCKS = 5  # More than are ready before they are asked for.


def main() -> None:
    """Prints one line per row length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", required=True, help="folder that build_data wrote")
    parser.add_argument("--batch_rows", type=int, default=128)
    parser.add_argument("--blocks", type=int, default=8, help="blocks to time")
    arguments = parser.parse_args()
    for row_tokens in ROW_TOKENS:
        data = config.DataConfig(
            records=arguments.records, row_tokens=row_tokens, example_tokens=row_tokens
        )
        measure(data, arguments.batch_rows, arguments.blocks)


def measure(data: config.DataConfig, batch_rows: int, num_blocks: int) -> None:
    """Times blocks of batches; a core second is one of all threads together."""
    start = time.perf_counter()
    source = pipeline.open_source(data)
    batches = iter(pipeline.train_batches(source, data, seed=1, batch_rows=batch_rows))
    next(batches)
    first_seconds = time.perf_counter() - start

    in_block = max(1, data.block_rows // batch_rows)
    for _ in range(_WARM_UP_BLOCKS * in_block):
        next(batches)
    per_second, num_slots, num_real, core_start = [], 0, 0, time.process_time()
    for _ in range(num_blocks):
        block_start, tokens = time.perf_counter(), 0
        for _ in range(in_block):
            example_ids = next(batches)["example_ids"].numpy()
            tokens += np.count_nonzero(example_ids)
            num_slots += example_ids.size
        per_second.append(tokens / (time.perf_counter() - block_start))
        num_real += tokens
    per_core_second = num_real / (time.process_time() - core_start)
    print(
        f"row_tokens {data.row_tokens}: fill {num_real / num_slots:.4f}, "
        f"{statistics.median(per_second):,.0f} tokens/s (median of {num_blocks}), "
        f"{per_core_second:,.0f} tokens per core second, "
        f"first batch after {first_seconds:.1f} s (TensorFlow {tf.__version__})"
    )


if __name__ == "__main__":
    main()
