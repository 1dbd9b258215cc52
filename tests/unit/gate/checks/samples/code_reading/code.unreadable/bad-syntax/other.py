def g(:  # <- found
