"""The jobs. Each file or package has a public function that does the work and returns a frozen report."""
