"""How posts travel between roles when one machine is not enough. In one process they travel through the daemon's queue."""
