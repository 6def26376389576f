"""Which folders hold which pictures, which files are partners, and what is known of files."""
