"""Two worker files of the demo, as anybody would write them; run as programs, not imported."""
