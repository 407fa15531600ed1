"""The prompt library as every way in uses it: plain functions over the services, free of terminals."""
