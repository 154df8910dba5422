"""Write to Kafka and read from Kafka. Each failure gets a name and a kind of fault."""
