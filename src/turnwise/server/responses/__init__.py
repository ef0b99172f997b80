"""The Responses API (`/v1/responses`), on the same chat service as chat completions.

`response_request` and `input_items` read a request, `item_messages` converts items to messages, `response_builder`
converts deltas to output items and events, `response_storage` stores responses and finds earlier ones.
"""
