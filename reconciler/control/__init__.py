"""The loop: keyed and level-triggered. Events are hints; a pass looks at everything its ref names."""
