"""The broker's services: what a plugin's calls reach in the service, each behind its permission."""
