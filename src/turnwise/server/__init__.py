"""Speaks HTTP; knows no tensors. Its web page lives in `server/web/`."""
