"""AWS services for the Lambda functions: Secrets Manager, SQS, SNS and X-Ray. botocore is loaded on first use."""
