"""Pictures of what networks do: sheets, crops for the page, and TensorBoard."""
