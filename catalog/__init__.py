"""What datasets exist, and how to reach them: shared by ingestion and the API."""
