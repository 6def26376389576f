"""Tests of the method: its rankings, strategies, operators and winners."""
