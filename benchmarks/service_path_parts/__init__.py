"""Parts of `service_path.py`: dialogues, the judge of replies, the systems, and the table."""
