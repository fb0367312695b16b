"""Where a post speaks from: places and providers as evidence, and the posterior over regions."""
