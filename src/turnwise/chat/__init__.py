"""The chat service: prepares a request, generates its response and stores both."""
