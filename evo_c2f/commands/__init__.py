"""The command line, from options to workflows, and from results to the terminal."""
