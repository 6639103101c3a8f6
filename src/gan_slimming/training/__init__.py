"""The loop and all that it needs: trainer, discriminator, budget, optimisers, run folder."""
