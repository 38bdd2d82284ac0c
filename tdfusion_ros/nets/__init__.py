"""Networks in torch, shared by training and deployment; they import nothing else of ours."""
