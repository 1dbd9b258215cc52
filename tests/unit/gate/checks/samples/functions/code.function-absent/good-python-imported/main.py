from other import g

if True:
    def h(input, context):
        return 1
