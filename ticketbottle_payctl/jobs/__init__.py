"""The jobs. Each has a file or package with a public function that does the work and returns a frozen report."""
