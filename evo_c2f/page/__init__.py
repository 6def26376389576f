"""Two pages and their servers: a run as one page, and models to try on pictures."""
