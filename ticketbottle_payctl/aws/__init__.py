"""Use Secrets Manager, SQS, SNS and X-Ray in the Lambda functions. botocore is loaded on first use."""
