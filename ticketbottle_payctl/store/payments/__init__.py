"""Read and write the payment service's ``payments`` table."""
