"""A process that writes a monitor's store through the real pipeline, one batch after the other.

    python tests/server/monitor_writer.py DATABASE RECORDS BATCH_SIZE

prints the number of stored texts after every batch. RECORDS is a JSON file with a list of texts.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from monitor_stand_ins import open_test_pipeline
from turnwise.app.monitor.sources.text_records import TextRecords
from turnwise.store import open_monitor_store


def main() -> None:
    """Write all batches."""
    database, records, batch_size = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), int(sys.argv[3])
    store = open_monitor_store(f"sqlite:///{database}")
    store.claim()
    pipeline = open_test_pipeline(store)
    parser = TextRecords("test")
    texts = [parser.parse_record(record, str(number)) for number, record in enumerate(records)]
    for start in range(0, len(texts), batch_size):
        pipeline.process(texts[start : start + batch_size])
        print(store.figures()["texts"], flush=True)
    store.close()


if __name__ == "__main__":
    main()
