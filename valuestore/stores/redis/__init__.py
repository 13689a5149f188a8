"""RedisStore and its parts, from the bottom up: address, client, scripts, change, transfer, store."""
