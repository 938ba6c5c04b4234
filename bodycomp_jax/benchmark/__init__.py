"""Speed, memory and communication of training and prediction, compared with their lower bounds."""
