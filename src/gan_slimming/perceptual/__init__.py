"""Feature networks (VGG, SqueezeNet), LPIPS, and where their weights come from."""
