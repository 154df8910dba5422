"""Connect the Lambda functions to Secrets Manager, SQS, SNS and X-Ray. botocore is loaded on first use."""
