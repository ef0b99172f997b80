"""The Responses interface (`/v1/responses`) over the same chat service as chat completions.

`request.py` reads a request, `items.py` its input, `messages.py` turns items into messages; `builder.py` turns the
service's deltas into output items and published events; `storage.py` stores what was sent and finds it again.
"""
