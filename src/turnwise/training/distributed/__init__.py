"""Data-parallel and sharded (FSDP2) training over several processes."""
