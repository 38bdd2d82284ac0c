"""Networks in torch, shared by training and deployment."""
