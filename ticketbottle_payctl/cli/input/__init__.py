"""Turn options, arguments and files into values."""
