"""One file or package for each job: a public function that does the work, and a frozen report of what was done."""
