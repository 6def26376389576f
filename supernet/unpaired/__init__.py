"""A teacher that is trained from pictures of two domains without pairs, by CycleGAN."""
