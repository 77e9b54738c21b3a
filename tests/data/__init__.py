"""Small sample files of our own, in the forms of those that users have. `make` writes them."""
