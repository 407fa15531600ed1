"""Reading a knowledge base: sources, parsers, chunks, and the job that keeps a collection in step."""
