"""Training on replies that the model samples itself: sampler, gates, discriminator, guards."""
