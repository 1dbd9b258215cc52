import collections
import itertools
import re
import statistics


def words(input, context):
    found = re.findall(r"\w+", input["text"].lower())
    counts = collections.Counter(found)
    pairs = collections.Counter(itertools.pairwise(found))
    return {
        "words": len(found),
        "common": counts.most_common(5),
        "pairs": [[" ".join(pair), count] for pair, count in pairs.most_common(3)],
        "length": statistics.fmean(map(len, found)) if found else 0,
    }
