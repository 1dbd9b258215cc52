"""The names of the roles and databases of a cluster. `preparation` makes them on the first start."""

SUPERUSER = "plugyard_superuser"
OWNER = "plugyard_owner"
SERVICE = "plugyard_service"
KEEPER = "plugyard_keeper"
DATABASE = "plugyard"
PLUGINS_DATABASE = "plugyard_plugins"
