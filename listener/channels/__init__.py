"""How people are told about a transition: one kind a file."""
