"""Write to Kafka and read from it. Every failure gets a name and a fault."""
