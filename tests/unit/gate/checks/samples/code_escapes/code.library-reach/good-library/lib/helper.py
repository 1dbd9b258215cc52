import re

x = re.escape("a")
