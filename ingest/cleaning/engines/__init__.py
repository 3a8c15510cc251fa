"""Where records are judged: in this process, or spread over a cluster; the statement is the same."""
