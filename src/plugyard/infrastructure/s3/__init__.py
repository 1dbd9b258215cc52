"""`application.ports.Objects` on S3 and its compatibles, through obstore. `bootstrap` makes it where a bucket is named.

`settings.py` says where and how, `objects.py` is the adapter, `forms.py` how an object lies in the bucket, `signing.py`
makes URLs for others, and `failures.py` turns what goes wrong into the domain's errors. `docs/objects.md` is the page
for who runs it.
"""
