"""Write to Kafka and read from it. Every failure has a name and a kind of fault."""
