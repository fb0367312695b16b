"""What people and programs look at. Reads the store and nothing else."""
