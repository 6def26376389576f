"""The command line: options to arguments of workflows, and results to the terminal. Nothing else."""
