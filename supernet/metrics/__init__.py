"""The qualities and latencies of networks, as they are measured."""
