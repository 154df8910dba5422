"""Implement payctl's jobs. Each file or package has a public function that does a job and returns a frozen report."""
