"""The ports in memory: unit tests run the use cases on them, and contract suites hold PostgreSQL against them."""
