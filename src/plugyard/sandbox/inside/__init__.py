"""What runs in the zygote and behind the walls: it knows the wire and the jail, nothing else of ours."""
