"""The processes of one run: how many there are, what each does, and what they tell each other."""
