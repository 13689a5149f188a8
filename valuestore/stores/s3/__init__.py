"""S3Store and its parts, from the bottom: address, failure, connection, client, about, creation, writer."""
