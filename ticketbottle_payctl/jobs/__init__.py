"""One file per command: a public function that does the work and a frozen report that says what was done."""
