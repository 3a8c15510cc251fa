"""Between sockets and the application: framing, connections, and what is refused before a request is one."""
