"""Write to Kafka and read from Kafka. Each failure gets an error name and a kind of fault."""
