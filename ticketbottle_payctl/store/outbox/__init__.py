"""Read and write the payment service's ``outbox`` table."""
