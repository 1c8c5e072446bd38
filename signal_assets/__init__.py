"""What is computed: one folder per stage of the data's way, in the order in which it flows."""
