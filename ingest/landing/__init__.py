"""Raw batches kept by their digest."""
