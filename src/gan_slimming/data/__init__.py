"""Images and noise: files, folders, batches, and conversion to a generator's convention."""
