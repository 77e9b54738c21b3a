"""How a plan is run: batches of fixed shape, their memory, and what surrounds the stages."""
