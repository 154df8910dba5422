"""Write to Kafka and read from Kafka. Give each failure an error name and a kind of fault."""
