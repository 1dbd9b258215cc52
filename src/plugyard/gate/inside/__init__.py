"""What runs on the inner side of the gate's jail. ``jailed.JailedInspector`` starts it by ``__main__``."""
