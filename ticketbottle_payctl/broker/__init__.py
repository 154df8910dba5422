"""Write to Kafka and read from it. Each failure gets a name and a kind of fault."""
