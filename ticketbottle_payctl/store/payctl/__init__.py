"""Read and write payctl's own tables for receipts and runs."""
