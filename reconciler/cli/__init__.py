"""One file per verb, imported only when that verb runs."""
