"""The way to Postgres: logins, pools, text columns, and the embedded server of development."""
