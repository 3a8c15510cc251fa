"""The explorer: questions about a dataset that people put together, in the API's own grammar."""
