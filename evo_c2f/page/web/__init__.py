"""The HTML, style and scripts of a run's page."""
