"""Images and noise: files, folders, batches, and the border to generators."""
