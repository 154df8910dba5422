"""What only the Lambda functions use: Secrets Manager, SQS, SNS, X-Ray. The AWS client loads where one is asked."""
