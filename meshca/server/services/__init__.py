"""One adapter for each wire: it takes a request apart, enters the pipeline, and puts the answer together."""
