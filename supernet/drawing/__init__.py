"""Pictures of what networks do: sheets, crops for the page, the demo, and TensorBoard."""
