"""What is trained: one Task for each network, and its parts."""
