"""The layers that the networks are made of, with fast gradients."""
