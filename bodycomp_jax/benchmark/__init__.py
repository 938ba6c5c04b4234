"""What training and prediction cost, against the least that they could."""
