"""Feature networks (VGG, SqueezeNet), LPIPS, and the sources of their weights."""
