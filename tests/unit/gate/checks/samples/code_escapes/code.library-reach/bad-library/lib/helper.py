try:
    import subprocess  # <- found
except ImportError:
    subprocess = None
x = 1
