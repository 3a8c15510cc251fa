"""The operations console: what needs somebody, and the actions that an owner takes, each a request of the API."""
