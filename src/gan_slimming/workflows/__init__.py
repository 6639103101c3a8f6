"""What a user asks for, one file each: the only place where the parts meet."""
