"""Convert options, arguments and files into values."""
