"""AWS services and events. Only the Lambda functions use the services, and the client is loaded on first use."""
